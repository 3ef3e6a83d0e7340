'use strict';
(() => {
  const { data, format: f, element, section, tiles, table, chart, axis, tooltip, labelRoom, below, above } = kg;
  const spaces = { hidden_state: 'hidden state', attention_output: 'attention output', mlp_inner: 'inner MLP' };
  const kinds = { attention: 'attention', attention_output: 'attention output', mlp: 'MLP', mlp_inner: 'inner MLP' };
  const spaceOf = (kind) => kind === 'attention' || kind === 'mlp' ? 'hidden_state' : kind;
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const share = (value) => f.percent(value, 1);
  const sign = (column) => column.one_sided ? (column.positive_share > 0.5 ? 'positive' : 'negative') : share(column.positive_share) + ' positive';
  const held = (text, raw) => ({ text, raw });
  const perplexity = (value) => held(f.perplexity(value), value);

  const hidden = data.zeroing.find((experiment) => experiment.space === 'hidden_state');
  const randomMean = hidden ? hidden.random.reduce((sum, draw) => sum + draw.perplexity, 0) / hidden.random.length : null;
  const features = data.features;
  const fixedTrial = data.thresholds.find((trial) => trial.threshold === data.suggestion.fixed_threshold);
  kg.subtitle(`${data.model} on ${f.count(data.windows)} windows of ${f.count(data.context)} tokens of ${data.text}`);

  tiles([
    {
      label: 'Systematic outlier features', value: f.count(features.length), raw: features.length,
      note: features.length ? `${features.filter((feature) => feature.one_sided).length} of them one-sided` : 'int8 needs no exceptions here',
    },
    { label: 'Largest magnitude', value: f.fixed(most(data.inputs.map((input) => input.absmax)), 2), raw: most(data.inputs.map((input) => input.absmax)), note: `outliers are from ${f.number(data.threshold)}` },
    hidden
      ? { label: 'Perplexity without them', value: f.perplexity(hidden.perplexity), raw: hidden.perplexity, note: `${f.change(hidden.perplexity, data.perplexity, 1)}; as many random columns: ${f.change(randomMean, data.perplexity)}` }
      : { label: 'Perplexity in float32', value: f.perplexity(data.perplexity), raw: data.perplexity },
    { label: 'Suggested threshold', value: f.number(data.suggestion.threshold), raw: data.suggestion.threshold, note: `or a fixed set of ${f.count(fixedTrial.fixed_columns)} columns: ${f.change(fixedTrial.fixed_perplexity, data.perplexity)}` },
  ]);

  // Systematic features: where their values lie.
  const criteria = `A feature is systematic when it reaches ${f.number(data.threshold)} in at least ${f.percent(data.least_layer_share, 0)} of the ${f.count(data.layers)} layers and at ${f.percent(data.least_position_share, 0)} of the sequence positions (arXiv 2208.07339, section 4).`;
  if (features.length === 0) {
    section('Systematic features', criteria + ' This model has none on this text.');
  } else {
    const names = features.map((feature) => `${spaces[feature.space]} ${feature.column}`);
    const bound = most(features.map((feature) => feature.absmax));
    section('Systematic features', criteria, chart({
      caption: 'The middle half of each feature\u2019s outliers, its median, and its largest magnitude (dot).',
      alt: `Ranges of ${features.length} systematic features: ` + features.map((feature, i) => `${names[i]}: quartiles ${feature.quartiles.map((value) => f.fixed(value, 1)).join(', ')}`).join('; ') + '.',
      height: 70 + 34 * features.length,
      option: (c) => ({
        grid: { left: labelRoom(names), right: 24, top: 8, bottom: 44 },
        xAxis: axis(c, { type: 'value', name: 'activation', nameGap: 28, axisLabel: { formatter: f.tick }, min: least(features.map((x) => x.quartiles[0])) < 0 ? -Math.ceil(bound / 10) * 10 : 0, max: most(features.map((x) => x.quartiles[2])) > 0 ? Math.ceil(most(features.filter((x) => x.quartiles[2] > 0).map((x) => x.absmax)) / 10) * 10 : 0 }),
        yAxis: axis(c, { type: 'category', data: names, inverse: true, axisLabel: { color: c.text } }),
        tooltip: tooltip(c, { formatter: (item) => { const feature = features[item.dataIndex]; return `${names[item.dataIndex]}\nquartiles ${feature.quartiles.map((value) => f.fixed(value, 2)).join(', ')}\nlargest magnitude ${f.fixed(feature.absmax, 2)}\n${share(feature.layer_share)} of layers, ${share(feature.position_share)} of positions`; } }),
        series: [
          {
            type: 'custom', data: features.map((feature, i) => [i, ...feature.quartiles]), encode: { x: [1, 2, 3], y: 0 },
            renderItem: (_, api) => {
              const [low, median, high] = [1, 2, 3].map((i) => api.coord([api.value(i), api.value(0)]));
              const half = 9;
              return {
                type: 'group', children: [
                  { type: 'rect', shape: { x: low[0], y: low[1] - half, width: Math.max(2, high[0] - low[0]), height: 2 * half, r: 2 }, style: { fill: c.series1, opacity: 0.85 } },
                  { type: 'line', shape: { x1: median[0], x2: median[0], y1: low[1] - half - 3, y2: low[1] + half + 3 }, style: { stroke: c.text, lineWidth: 2 } },
                ],
              };
            },
          },
          { type: 'scatter', symbolSize: 8, itemStyle: { color: c.series2 }, data: features.map((feature, i) => [feature.quartiles[1] < 0 ? -feature.absmax : feature.absmax, i]) },
        ],
      }),
    }), table('Systematic features', [
      { title: 'space' }, { title: 'column', number: true }, { title: 'layers', number: true }, { title: 'positions', number: true },
      { title: 'lower quartile', number: true }, { title: 'median', number: true }, { title: 'upper quartile', number: true }, { title: 'largest', number: true }, { title: 'sign' },
    ], features.map((feature) => [
      spaces[feature.space], held(String(feature.column), feature.column), held(share(feature.layer_share), feature.layer_share), held(share(feature.position_share), feature.position_share),
      ...feature.quartiles.map((value) => held(f.fixed(value, 1), value)), held(f.fixed(feature.absmax, 2), feature.absmax), sign(feature),
    ])));
  }

  // What the model is without them.
  for (const experiment of data.zeroing) {
    const rows = [
      { name: 'nothing', value: data.perplexity, columns: [] },
      ...experiment.random.map((draw, i) => ({ name: `random draw ${i + 1}`, value: draw.perplexity, columns: draw.columns })),
      { name: 'systematic features', value: experiment.perplexity, columns: experiment.columns },
    ];
    const finite = rows.map((row) => row.value).filter(Number.isFinite);
    section(
      `Without them: ${spaces[experiment.space]}`,
      `Perplexity when ${experiment.columns.length} columns read as zero in every linear layer of the ${spaces[experiment.space]}: the systematic features, and ${experiment.random.length} draws of as many other columns (seed ${experiment.seed}).`,
      chart({
        caption: 'Perplexity by what was zeroed; logarithmic, lower is better.',
        alt: rows.map((row) => `${row.name}: ${f.perplexity(row.value)}`).join('; ') + '.',
        height: 66 + 30 * rows.length,
        option: (c) => ({
          grid: { left: labelRoom(rows.map((row) => row.name)), right: 72, top: 8, bottom: 44 },
          xAxis: axis(c, { type: 'log', name: 'perplexity', nameGap: 28, min: below(least(finite)), max: above(most(finite)), axisLabel: { formatter: f.tick } }),
          yAxis: axis(c, { type: 'category', inverse: true, data: rows.map((row) => row.name), axisLabel: { color: c.text } }),
          tooltip: tooltip(c, { formatter: (item) => `${rows[item.dataIndex].name}\nperplexity ${f.perplexity(rows[item.dataIndex].value)} (${f.change(rows[item.dataIndex].value, data.perplexity)})` }),
          series: [{
            type: 'scatter', symbolSize: 13,
            data: rows.map((row, i) => ({ value: [row.value, i], itemStyle: { color: i === 0 ? c.series6 : i === rows.length - 1 ? c.bad : c.series1 } })),
            label: { show: true, position: 'right', distance: 8, color: c.text, fontSize: 12, formatter: (item) => f.perplexity(rows[item.dataIndex].value) },
            markLine: { silent: true, symbol: 'none', label: { show: false }, lineStyle: { color: c.strongLine, type: 'dashed' }, data: [{ xAxis: data.perplexity }] },
          }],
        }),
      }),
      table('Perplexity by zeroed columns', [{ title: 'zeroed' }, { title: 'perplexity', number: true }, { title: 'against none', number: true }, { title: 'columns', list: true }],
        rows.map((row) => [row.name, perplexity(row.value), f.change(row.value, data.perplexity), row.columns.join(', ') || kg.missing])));
  }

  // Thresholds.
  const trials = data.thresholds;
  const suggested = data.suggestion;
  const cost = (value) => Number.isFinite(value) ? value / data.perplexity - 1 : null;
  const ways = [
    { name: 'outlier columns', of: 'perplexity', series: 'series1', symbol: 'circle' },
    { name: 'row by row', of: 'row_perplexity', series: 'series2', symbol: 'triangle' },
    { name: 'fixed set', of: 'fixed_perplexity', series: 'series4', symbol: 'diamond' },
  ];
  const isSuggested = (trial, way) => trial.threshold === (way.of === 'fixed_perplexity' ? suggested.fixed_threshold : suggested.threshold);
  section(
    'Threshold and fixed set',
    `LLM.int8() takes a column out for the whole batch as soon as one row needs it (outlier columns); where a batch is one token, that comes to deciding row by row. The suggested threshold is the highest that costs at most ${f.percent(suggested.tolerance, 2)} perplexity either way. A fixed set holds, per linear layer, the columns that reach the threshold at ${f.percent(data.least_position_share, 0)} of the positions; suggested is the smallest that costs as little.`,
    chart({
      caption: `Perplexity against float32 (${f.perplexity(data.perplexity)}) by threshold; rings mark the suggestions. Vector-wise int8 without outliers: ${f.change(data.vector_wise_perplexity, data.perplexity)}.`,
      alt: trials.map((trial) => `threshold ${f.number(trial.threshold)}: ` + ways.map((way) => `${way.name} ${f.change(trial[way.of], data.perplexity)}`).join(', ')).join('; ') + '.',
      height: 320,
      option: (c, width) => ({
        grid: { left: 68, right: 24, top: width < 480 ? 66 : 40, bottom: 44 },
        legend: { top: 0, left: 0, textStyle: { color: c.text }, itemGap: 18, data: ways.map((way) => way.name) },
        xAxis: axis(c, { type: 'category', name: 'outlier threshold', nameGap: 28, data: trials.map((trial) => f.number(trial.threshold)) }),
        yAxis: axis(c, { type: 'value', scale: true, axisLabel: { formatter: (value) => f.change(1 + value, 1, 2) } }),
        tooltip: tooltip(c, { trigger: 'axis', formatter: (items) => { const trial = trials[items[0].dataIndex]; return `threshold ${f.number(trial.threshold)}\n` + ways.map((way) => `${way.name} ${f.perplexity(trial[way.of])} (${f.change(trial[way.of], data.perplexity)})`).join('\n') + `\n${f.percent(trial.column_share, 2)} of columns, ${f.percent(trial.value_share, 3)} of values are outliers`; } }),
        series: ways.map((way, i) => ({
          name: way.name, type: 'line', color: c[way.series], symbol: way.symbol, symbolSize: 9, lineStyle: { width: 2.5 },
          data: trials.map((trial) => cost(trial[way.of])),
          markPoint: {
            symbol: 'circle', symbolSize: 20, silent: true, label: { show: false }, itemStyle: { color: 'transparent', borderColor: c.chosen, borderWidth: 3 },
            data: trials.filter((trial) => isSuggested(trial, way) && cost(trial[way.of]) !== null).map((trial) => ({ coord: [f.number(trial.threshold), cost(trial[way.of])] })),
          },
          markLine: i === 0 ? { silent: true, symbol: 'none', precision: 6, lineStyle: { color: c.strongLine, type: 'dashed', width: 1.5 }, label: { formatter: `at most +${f.percent(suggested.tolerance, 2)}`, color: c.muted, position: 'insideEndTop' }, data: [{ yAxis: suggested.tolerance }] } : undefined,
        })),
      }),
      table: table('LLM.int8() by threshold', [
        { title: 'threshold', number: true }, { title: 'columns', number: true }, { title: 'outlier columns', number: true }, { title: '', number: true },
        { title: 'values', number: true }, { title: 'row by row', number: true }, { title: '', number: true },
        { title: 'fixed set', number: true }, { title: 'perplexity', number: true }, { title: '', number: true },
      ], trials.map((trial) => [
        held(f.number(trial.threshold), trial.threshold), held(f.percent(trial.column_share, 2), trial.column_share), perplexity(trial.perplexity), f.change(trial.perplexity, data.perplexity),
        held(f.percent(trial.value_share, 3), trial.value_share), perplexity(trial.row_perplexity), f.change(trial.row_perplexity, data.perplexity),
        held(`${f.count(trial.fixed_columns)} columns`, trial.fixed_columns), perplexity(trial.fixed_perplexity), f.change(trial.fixed_perplexity, data.perplexity),
      ])),
    }));

  // Where outliers are: a map per space, and the magnitudes by layer.
  const magnitudes = Object.keys(kinds).map((kind) => ({ kind, inputs: data.inputs.filter((input) => input.kind === kind) })).filter((group) => group.inputs.length);
  section(
    'Where the outliers are',
    `Each linear layer reads one of four inputs in its decoder layer. A column counts as an outlier of an input as soon as one value reaches ${f.number(data.threshold)}.`,
    chart({
      caption: 'Largest magnitude of each input, by layer; logarithmic.',
      alt: magnitudes.map((group) => `${kinds[group.kind]}: ${group.inputs.map((input) => f.fixed(input.absmax, 1)).join(', ')}`).join('; ') + '.',
      height: 300,
      option: (c, width) => ({
        grid: { left: 46, right: 16, top: width < 480 ? 66 : 40, bottom: 44 },
        legend: { top: 0, left: 0, textStyle: { color: c.text }, itemGap: 18 },
        xAxis: axis(c, { type: 'category', name: 'layer', nameGap: 28, data: [...new Set(data.inputs.map((input) => input.layer))].map(String) }),
        yAxis: axis(c, { type: 'log', axisLabel: { formatter: f.tick }, min: below(least(data.inputs.map((input) => input.absmax).filter((value) => value > 0).concat(data.threshold))), max: above(most(data.inputs.map((input) => input.absmax).concat(data.threshold))) }),
        tooltip: tooltip(c, { trigger: 'axis', formatter: (items) => `layer ${items[0].name}\n` + items.map((item) => `${item.seriesName} ${f.fixed(item.value, 2)}`).join('\n') }),
        series: magnitudes.map((group, i) => ({
          name: kinds[group.kind], type: 'line', data: group.inputs.map((input) => input.absmax > 0 ? input.absmax : null), symbol: ['circle', 'rect', 'triangle', 'diamond'][i], symbolSize: 8,
          color: c['series' + (i + 1)], lineStyle: { width: 2 },
          markLine: i === 0 ? { silent: true, symbol: 'none', lineStyle: { color: c.text, type: 'dashed' }, label: { formatter: `threshold ${f.number(data.threshold)}`, color: c.text, position: 'insideEndTop' }, data: [{ yAxis: data.threshold }] } : undefined,
        })),
      }),
    }),
    ...Object.keys(spaces).map(map).filter((node) => node !== null),
    kg.details('All inputs', table('Inputs of the linear layers', [
      { title: 'layer', number: true }, { title: 'input' }, { title: 'largest', number: true }, { title: 'outlier columns', number: true }, { title: 'column (share of positions)', list: true },
    ], data.inputs.map((input) => [
      held(String(input.layer), input.layer), kinds[input.kind], held(f.fixed(input.absmax, 2), input.absmax), held(`${f.count(input.outliers.length)} of ${f.count(input.width)}`, input.outliers.length),
      input.outliers.map((column) => `${column.column} (${share(column.position_share)})`).join(', ') || kg.missing,
    ]))));

  const layers = Object.entries(data.suggestion.fixed_outliers);
  section('Using it', 'The suggested fixed set, as kernelgen outliers --out FILE writes it. Columns are those of the linear layers\u2019 inputs.',
    element('pre', { tabindex: '0', role: 'region', 'aria-label': 'Commands' }, `kernelgen eval --model DIR --text FILE --scheme llm-int8 --threshold ${data.suggestion.threshold}\nkernelgen eval --model DIR --text FILE --scheme llm-int8-fixed --fixed-outliers FILE\nkernelgen quantize --model DIR --out DIR --scheme llm-int8-fixed --fixed-outliers FILE`),
    kg.details(`The set: ${f.count(layers.length)} linear layers`, table('Fixed outlier columns', [{ title: 'linear layer', list: true }, { title: 'columns', list: true }],
      layers.map(([layer, columns]) => [kg.name(layer), columns.join(', ') || kg.missing]))));

  function map(space) {
    const inputs = data.inputs.filter((input) => spaceOf(input.kind) === space && input.outliers.length > 0);
    const weight = new Map();
    for (const input of inputs) for (const column of input.outliers) weight.set(column.column, (weight.get(column.column) ?? 0) + column.position_share);
    if (weight.size === 0) return null;
    const limit = 32;
    const columns = [...weight].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit).map((entry) => entry[0]);
    const names = inputs.map((input) => `${input.layer} ${kinds[input.kind]}`);
    const cells = inputs.flatMap((input, y) => input.outliers.filter((column) => columns.includes(column.column)).map((column) => ({ value: [columns.indexOf(column.column), y, column.position_share], column })));
    return element('div', {}, element('h3', {}, `Columns of the ${spaces[space]}`), chart({
      caption: `Share of the positions at which a column is an outlier, by layer and input; inputs without outliers are left out${weight.size > limit ? `; the ${limit} most frequent of ${f.count(weight.size)} columns` : ''}.`,
      alt: `Heat map of ${names.length} inputs against ${columns.length} columns. Most frequent: ${columns.slice(0, 8).join(', ')}.`,
      height: 84 + Math.max(16, Math.min(26, 600 / names.length)) * names.length,
      minWidth: 150 + 22 * columns.length,
      option: (c) => ({
        grid: { left: labelRoom(names), right: 14, top: 46, bottom: columns.length > 16 ? 62 : 44, show: true, backgroundColor: c.inset, borderWidth: 0 },
        xAxis: axis(c, { type: 'category', name: 'column', nameGap: columns.length > 16 ? 46 : 28, data: columns.map(String), axisLine: { show: false }, axisLabel: { interval: 0, rotate: columns.length > 16 ? 60 : 0 } }),
        yAxis: axis(c, { type: 'category', data: names, inverse: true, axisLine: { show: false } }),
        visualMap: { min: 0, max: 1, calculable: false, orient: 'horizontal', left: 0, top: 0, itemHeight: 120, itemWidth: 12, text: ['100 %', '0 %'], textStyle: { color: c.muted }, inRange: { color: [c.heat0, c.heat1, c.heat2, c.heat3] } },
        tooltip: tooltip(c, { formatter: (item) => { const column = cells[item.dataIndex].column; return `layer ${names[item.value[1]]}, column ${column.column}\n${share(column.position_share)} of positions, largest ${f.fixed(column.absmax, 2)}\nquartiles ${column.quartiles.map((value) => f.fixed(value, 1)).join(', ')}`; } }),
        series: [{ type: 'heatmap', data: cells.map((cell) => cell.value), itemStyle: { borderColor: c.card, borderWidth: 2 }, emphasis: { itemStyle: { borderColor: c.text } } }],
      }),
    }));
  }
})();
