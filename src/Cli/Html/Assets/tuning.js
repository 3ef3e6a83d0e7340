'use strict';
(() => {
  const { data, format: f, element, section, tiles, table, chart, axis, tooltip, labelRoom, below, above } = kg;
  const records = data.records;
  const held = (text, raw) => ({ text, raw });
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const microseconds = (value) => Number.isFinite(value) ? f.fixed(value, value < 1000 ? 1 : 0) : kg.missing;
  const us = (value) => held(microseconds(value), value);
  const shapeOf = (record) => `${record.m}x${record.k}x${record.n}`;
  const find = (record, name) => record.variants.find((variant) => variant.name === name);
  const timed = (record) => record.variants.filter((variant) => variant.us_median !== undefined);
  const byTime = (record) => timed(record).toSorted((a, b) => a.us_median - b.us_median);
  const gainOf = (row) => row.untuned?.us_median / row.chosen.us_median;
  const tera = (operations) => operations / 1e12;

  const rows = records.map((record) => {
    const chosen = find(record, record.chosen);
    const others = record.variants.filter((variant) => variant.outcome === 'finalist' && variant.name !== record.chosen);
    const second = others.length ? others.reduce((a, b) => a.us_median <= b.us_median ? a : b) : null;
    return { record, shape: shapeOf(record), chosen, untuned: find(record, record.untuned), second };
  });
  const gains = rows.map(gainOf).filter(Number.isFinite);
  const mean = gains.length ? Math.exp(gains.reduce((sum, gain) => sum + Math.log(gain), 0) / gains.length) : NaN;
  const best = rows.filter((row) => Number.isFinite(gainOf(row))).toSorted((a, b) => gainOf(b) - gainOf(a))[0];
  const first = records[0];
  const unit = first.device.kind === 'cpu' ? 'logical processors' : 'multiprocessors';
  kg.subtitle([
    `${first.device.name} (${first.device.architecture}, ${f.count(first.device.units)} ${unit})`, first.driver, first.runtime, first.generator && `generator ${first.generator}`, first.spec, `output ${first.output}`, first.measured_at,
  ].filter(Boolean).join(' \u00b7 '));

  tiles([
    { label: 'Shapes', value: f.count(records.length), raw: records.length, note: `${f.fixed(records.reduce((sum, record) => sum + record.seconds, 0), 1)} s of tuning` },
    { label: 'Faster than untuned', value: f.times(mean), raw: mean, note: 'geometric mean over the shapes' },
    best ? { label: 'Largest gain', value: f.times(gainOf(best)), raw: gainOf(best), note: best.shape } : null,
    { label: 'Variants timed', value: f.count(records.reduce((sum, record) => sum + timed(record).length, 0)), note: `of ${f.count(records.reduce((sum, record) => sum + record.variants.length, 0))}; the others were pruned or refused` },
  ].filter(Boolean));

  section('What tuning gained',
    'Untuned is the variant that fixed rules take without a record. Shapes are rows of activations (M) x input features (K) x output features (N).',
    chart({
      caption: 'Median time of the untuned variant over that of the chosen one; 1 means that the rules were right.',
      alt: rows.map((row) => `${row.shape}: ${f.times(gainOf(row))}`).join('; ') + '.',
      height: 60 + 28 * rows.length,
      option: (c) => ({
        grid: { left: labelRoom(rows.map((row) => row.shape)), right: 60, top: 8, bottom: 44 },
        xAxis: axis(c, { type: 'value', name: 'gain', nameGap: 28, min: 0, axisLabel: { formatter: (value) => f.tick(value) + '\u00d7' } }),
        yAxis: axis(c, { type: 'category', inverse: true, data: rows.map((row) => row.shape), axisLabel: { color: c.text } }),
        tooltip: tooltip(c, { formatter: (item) => { const row = rows[item.dataIndex]; return `${row.shape}\n${row.record.chosen}\n${microseconds(row.chosen.us_median)} \u00b5s, untuned ${microseconds(row.untuned?.us_median)} \u00b5s`; } }),
        series: [{
          type: 'bar', barMaxWidth: 18, data: rows.map((row) => ({ value: Number.isFinite(gainOf(row)) ? gainOf(row) : null, itemStyle: { color: gainOf(row) > 1.005 ? c.chosen : c.series6 } })),
          label: { show: true, position: 'right', color: c.text, formatter: (item) => f.times(item.value) },
          markLine: { silent: true, symbol: 'none', label: { show: false }, lineStyle: { color: c.text, type: 'dashed' }, data: [{ xAxis: 1 }] },
        }],
      }),
    }),
    table('The chosen variants', [
      { title: 'MxKxN' }, { title: 'chosen', list: true }, { title: '\u00b5s', number: true }, { title: 'spread', number: true }, { title: 'untuned \u00b5s', number: true },
      { title: 'gain', number: true }, { title: 'next finalist', number: true }, { title: 'timed', number: true }, { title: 'tuning s', number: true },
    ], rows.map((row) => [
      row.shape, kg.name(row.record.chosen + (row.record.chosen === row.record.untuned ? ' (as untuned)' : '')), us(row.chosen.us_median), us(row.chosen.us_spread), us(row.untuned?.us_median),
      f.times(gainOf(row)), row.second ? f.change(row.second.us_median, row.chosen.us_median, 1) : kg.missing, `${f.count(timed(row.record).length)} of ${f.count(row.record.variants.length)}`, held(f.fixed(row.record.seconds, 1), row.record.seconds),
    ])));

  variants();
  tiling();
  roofline();

  // Per shape the variants as bars with their spread.
  function variants() {
    const limit = 20;
    const slowest = 4;
    const holder = element('div');
    const choice = element('select', { id: 'shape' }, rows.map((row, i) => element('option', { value: i }, row.shape)));
    const show = () => {
      const { record, shape } = rows[Number(choice.value)];
      const all = byTime(record);
      const shown = all.filter((variant) => variant.us_median <= slowest * find(record, record.chosen).us_median).slice(0, limit);
      for (const name of [record.untuned, record.chosen]) if (!shown.some((variant) => variant.name === name)) shown.push(...all.filter((variant) => variant.name === name));
      const names = shown.map((variant) => short(variant.name));
      const role = (variant) => variant.name === record.chosen ? (record.chosen === record.untuned ? 'chosen, as untuned' : 'chosen') : variant.name === record.untuned ? 'untuned' : variant.outcome;
      const untimed = record.variants.filter((variant) => variant.us_median === undefined);
      holder.replaceChildren(
        chart({
          caption: `Median time of a multiplication at ${shape}, ${shown.length < all.length ? `${shown.length} of ${f.count(all.length)} timed variants: the fastest, up to ${slowest} times the chosen one\u2019s` : 'every timed variant'}; whiskers span the middle half of the samples. Eliminated variants have few samples, from another moment.`,
          alt: `Times at ${shape}: ` + shown.slice(0, 6).map((variant) => `${short(variant.name)} ${microseconds(variant.us_median)} microseconds`).join('; ') + '.',
          height: 84 + 24 * shown.length,
          minWidth: 520,
          option: (c) => ({
            grid: { left: labelRoom(names), right: 24, top: 36, bottom: 44 },
            legend: { top: 0, left: 0, selectedMode: false, textStyle: { color: c.text }, data: ['chosen', 'untuned', 'finalist', 'eliminated'] },
            xAxis: axis(c, { type: 'value', name: '\u00b5s', nameGap: 28, min: 0, axisLabel: { formatter: f.tick } }),
            yAxis: axis(c, { type: 'category', inverse: true, data: names, axisLabel: { color: c.text, interval: 0 } }),
            tooltip: tooltip(c, { formatter: (item) => { const variant = shown[item.value[1] ?? item.dataIndex]; return `${variant.name}\n${role(variant)}${variant.reason ? ': ' + variant.reason : ''}\nmedian ${microseconds(variant.us_median)} \u00b5s, middle half within ${microseconds(variant.us_spread)} \u00b5s\n${microseconds(variant.us_min)} to ${microseconds(variant.us_max)} \u00b5s in ${variant.us_samples.length} samples`; } }),
            series: [
              ...[['chosen', c.chosen], ['untuned', c.series2], ['finalist', c.series1], ['eliminated', c.faint]].map(([name, color]) => ({
                name, type: 'bar', stack: 'time', color, barWidth: 14,
                data: shown.map((variant, i) => role(variant).split(',')[0] === name ? [variant.us_median, i] : null).filter(Boolean),
              })),
              {
                type: 'custom', z: 5, silent: true, encode: { x: [0, 1], y: 2 }, data: shown.map((variant, i) => [quantile(variant.us_samples, 0.25), quantile(variant.us_samples, 0.75), i]),
                renderItem: (_, api) => {
                  const [low, high] = [api.coord([api.value(0), api.value(2)]), api.coord([api.value(1), api.value(2)])];
                  const line = (x1, y1, x2, y2) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: c.text, lineWidth: 1.2 } });
                  return { type: 'group', children: [line(low[0], low[1], high[0], high[1]), line(low[0], low[1] - 4, low[0], low[1] + 4), line(high[0], high[1] - 4, high[0], high[1] + 4)] };
                },
              },
            ],
          }),
        }),
        kg.details(`All ${f.count(record.variants.length)} variants`, table(`Variants at ${shape}`, [
          { title: 'variant', list: true }, { title: 'outcome' }, { title: '\u00b5s', number: true }, { title: 'spread', number: true }, { title: 'fastest', number: true }, { title: 'slowest', number: true }, { title: 'samples', number: true }, { title: 'why', list: true },
        ], [...all, ...untimed].map((variant) => [
          kg.name(variant.name), role(variant), us(variant.us_median), us(variant.us_spread), us(variant.us_min), us(variant.us_max), variant.us_samples ? f.count(variant.us_samples.length) : kg.missing, variant.reason ?? '',
        ]), (i) => all[i]?.name === record.chosen ? 'chosen' : null)));
    };
    choice.addEventListener('change', show);
    section('Variants of a shape', 'Every variant was held against the oracle before it was timed. Those that were clearly slower were left behind after a few samples; the finalists were timed on.',
      element('div', { class: 'choice' }, element('label', { for: 'shape' }, 'Shape'), choice), holder);
    show();
  }

  // Which tile is good where.
  function tiling() {
    const limit = 36;
    const score = new Map();
    rows.forEach((row, x) => {
      const fastest = row.chosen.us_median;
      for (const variant of timed(row.record)) {
        const tile = tileOf(variant.name);
        const cells = score.get(tile) ?? score.set(tile, []).get(tile);
        if (!cells[x] || variant.us_median < cells[x].variant.us_median) cells[x] = { share: fastest / variant.us_median, variant };
      }
    });
    const all = [...score].map(([tile, cells]) => ({ tile, cells, best: most(cells.filter(Boolean).map((cell) => cell.share)), sum: cells.filter(Boolean).reduce((total, cell) => total + cell.share, 0) }))
      .sort((a, b) => b.sum - a.sum || (a.tile < b.tile ? -1 : 1));
    const tiles = all.slice(0, limit);
    const cells = tiles.flatMap((row, y) => row.cells.map((cell, x) => cell ? { value: [x, y, Math.min(1, cell.share)], cell, tile: row.tile } : null).filter(Boolean));
    const names = tiles.map((row) => row.tile);
    const lowest = Math.min(0.5, least(cells.map((cell) => cell.value[2])));
    section('Tiles against shapes', 'The tile is the block of the result that a kernel computes at a time, with its instruction set; a tile\u2019s best variant stands for it.',
      chart({
        caption: `Speed of each tile as a share of the chosen variant\u2019s${all.length > limit ? `; the ${limit} best of ${f.count(all.length)} tiles` : ''}. Empty: not timed there. Eliminated variants have few samples, so noise can lift one above 100 %.`,
        alt: `Heat map of ${names.length} tiles against ${rows.length} shapes. Best on the whole: ${names.slice(0, 5).join(', ')}.`,
        height: 118 + 24 * names.length,
        minWidth: labelRoom(names) + 58 * rows.length,
        option: (c, width) => {
          const roomy = (width - labelRoom(names)) / rows.length > 44;
          return {
            grid: { left: labelRoom(names), right: 14, top: 46, bottom: 72, show: true, backgroundColor: c.inset, borderWidth: 0 },
            xAxis: axis(c, { type: 'category', data: rows.map((row) => row.shape), axisLine: { show: false }, axisLabel: { interval: 0, rotate: rows.length > 4 || width < 700 ? 32 : 0 } }),
            yAxis: axis(c, { type: 'category', data: names, inverse: true, axisLine: { show: false }, axisLabel: { color: c.text, interval: 0 } }),
            visualMap: { min: lowest, max: 1, calculable: false, orient: 'horizontal', left: 0, top: 0, itemHeight: 120, itemWidth: 12, text: ['100 %', f.percent(lowest, 0)], textStyle: { color: c.muted }, inRange: { color: [c.heat0, c.heat1, c.heat2, c.heat3] } },
            tooltip: tooltip(c, { formatter: (item) => { const { cell, tile } = cells[item.dataIndex]; return `${tile} at ${rows[item.value[0]].shape}\n${f.percent(cell.share, 1)} of the best speed: ${microseconds(cell.variant.us_median)} \u00b5s\n${cell.variant.name}`; } }),
            series: [{
              type: 'heatmap', itemStyle: { borderColor: c.card, borderWidth: 2 }, emphasis: { itemStyle: { borderColor: c.text } },
              data: cells.map((cell) => ({ value: cell.value, label: { show: roomy, color: cell.value[2] > lowest + (1 - lowest) * 0.6 ? c.heatTextStrong : c.heatText, formatter: f.percent(cell.cell.share, 0), fontSize: 11 } })),
            }],
          };
        },
        table: table('Speed of tiles against the chosen variant', [{ title: 'tile', list: true }, ...rows.map((row) => ({ title: row.shape, number: true }))],
          all.map((row) => [row.tile, ...rows.map((_, x) => row.cells[x] ? held(f.percent(row.cells[x].share, 1), row.cells[x].share) : kg.missing)])),
      }));
  }

  // What the device could do at most, and what was reached.
  function roofline() {
    const ceilings = records.map((record) => record.ceilings).find((measured) => measured !== null);
    const points = rows.map((row) => {
      const intensity = row.record.operations / row.record.bytes;
      const reached = (variant) => variant?.us_median ? row.record.operations / variant.us_median * 1e6 : null;
      const bound = ceilings ? Math.min(ceilings.int8_operations_per_second, ceilings.bytes_per_second * intensity) : null;
      return { row, intensity, chosen: reached(row.chosen), untuned: reached(row.untuned), bound };
    });
    const intensities = points.map((point) => point.intensity);
    const ridge = ceilings ? [ceilings.int8_operations_per_second / ceilings.bytes_per_second, ceilings.float_operations_per_second / ceilings.bytes_per_second] : [];
    const [left, right] = [below(least(intensities.concat(ridge)) / 1.5), above(most(intensities.concat(ridge)) * 1.5)];
    const speeds = points.flatMap((point) => [point.chosen, point.untuned]).filter(Number.isFinite);
    const roof = (peak) => [left, peak / ceilings.bytes_per_second, right].map((x) => [x, tera(Math.min(peak, ceilings.bytes_per_second * x))]);
    const numbers = table('Roofline', [
      { title: 'MxKxN' }, { title: 'operations per byte', number: true }, { title: 'reached, TOPS', number: true }, { title: 'untuned, TOPS', number: true }, { title: 'bound, TOPS', number: true }, { title: 'of the bound', number: true },
    ], points.map((point) => [
      point.row.shape, held(f.short(point.intensity), point.intensity), held(f.short(tera(point.chosen)), tera(point.chosen)), held(f.short(point.untuned === null ? NaN : tera(point.untuned)), point.untuned === null ? null : tera(point.untuned)),
      point.bound === null ? kg.missing : held(f.short(tera(point.bound)), tera(point.bound)), point.bound === null ? kg.missing : f.percent(point.chosen / point.bound, 0),
    ]));
    section('Roofline',
      ceilings
        ? `Measured on this device: memory ${f.short(ceilings.bytes_per_second / 1e9)} GB/s, int8 ${f.short(tera(ceilings.int8_operations_per_second))} TOPS (${ceilings.int8_by}), float ${f.short(tera(ceilings.float_operations_per_second))} TFLOPS (${ceilings.float_by}). A multiplication moves its int8 weights, activations and results at least once; weights that stay in a cache can lie above the slope.`
        : 'The ceilings of this device were not measured with these records.',
      chart({
        caption: 'Speed over operations per byte, both logarithmic: below the slope memory limits, below the flat the multiply units.',
        alt: points.map((point) => `${point.row.shape}: ${f.short(tera(point.chosen))} tera-operations per second at ${f.short(point.intensity)} operations per byte`).join('; ') + '.',
        height: 420,
        option: (c, width) => ({
          grid: { left: 62, right: 24, top: width < 560 ? 92 : 44, bottom: 48 },
          legend: { top: 0, left: 0, textStyle: { color: c.text }, itemGap: 16 },
          xAxis: axis(c, { type: 'log', name: 'operations per byte', nameGap: 28, min: left, max: right, axisLabel: { formatter: f.tick } }),
          yAxis: axis(c, {
            type: 'log', axisLabel: { formatter: f.tick }, name: 'TOPS', nameGap: 44,
            min: below(tera(least(speeds)) / 1.2), max: above(tera(most(speeds.concat(ceilings ? ceilings.int8_operations_per_second : []))) * 1.05),
          }),
          tooltip: tooltip(c, { formatter: (item) => { const point = points[item.dataIndex]; return `${point.row.shape}\n${f.short(point.intensity)} operations per byte\n${f.short(tera(point.chosen))} TOPS chosen, ${f.short(point.untuned === null ? NaN : tera(point.untuned))} untuned` + (point.bound ? `\n${f.percent(point.chosen / point.bound, 0)} of the bound` : ''); } }),
          series: [
            ...(ceilings ? [
              { name: 'int8 ceiling', type: 'line', symbol: 'none', silent: true, color: c.series1, lineStyle: { width: 2.5 }, data: roof(ceilings.int8_operations_per_second) },
              { name: 'float ceiling', type: 'line', symbol: 'none', silent: true, color: c.series4, lineStyle: { width: 2, type: 'dashed' }, data: roof(ceilings.float_operations_per_second) },
            ] : []),
            { name: 'untuned', type: 'scatter', symbol: 'circle', symbolSize: 12, itemStyle: { color: 'transparent', borderColor: c.series2, borderWidth: 2 }, data: points.map((point) => point.untuned === null ? [point.intensity, null] : [point.intensity, tera(point.untuned)]) },
            {
              name: 'chosen', type: 'scatter', symbolSize: 11, color: c.chosen, data: points.map((point) => [point.intensity, tera(point.chosen)]),
              label: { show: width >= 560 && points.length <= 24, position: 'right', color: c.muted, fontSize: 11, formatter: (item) => points[item.dataIndex].row.shape }, labelLayout: { hideOverlap: true },
            },
          ],
        }),
        table: numbers,
      }));
  }

  // Between the two samples that a share of all falls between, as the spread in the records is computed.
  function quantile(samples, share) {
    const sorted = samples.toSorted((a, b) => a - b);
    const position = share * (sorted.length - 1);
    const low = Math.floor(position);
    return low + 1 < sorted.length ? sorted[low] + (position - low) * (sorted[low + 1] - sorted[low]) : sorted[low];
  }

  // Names are computed: int8_gemm, element types, tile, instruction set, and on a processor how the work is cut up.
  function short(name) {
    return name.replace(/^int8_gemm_/, '');
  }

  function tileOf(name) {
    return short(name).replace(/^(?:[a-z]\d+\w*?_)+?(?=\d+x\d)/, '').replace(/_b\d+x\d+_t\d+$/, '');
  }
})();
