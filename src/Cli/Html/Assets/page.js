'use strict';
// What the reports share: the data, number formats, elements, tables, charts that follow theme and width.
// Text from the data enters the page as text only (textContent, chart labels), never as HTML.
const kg = (() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const missing = '\u2013';
  const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

  // The same in every locale.
  const grouped = (text) => {
    const [whole, fraction] = text.split('.');
    const separated = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
    return fraction === undefined ? separated : separated + '.' + fraction;
  };
  const fixed = (value, digits) => isNumber(value) ? grouped(value.toFixed(digits)).replace(/^-/, '\u2212') : missing;
  const format = {
    fixed,
    count: (value) => fixed(value, 0),
    // Three significant digits and more where the whole part has more.
    short: (value) => !isNumber(value) ? missing : fixed(value, value === 0 ? 0 : Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))))),
    tick: (value) => grouped(String(Number(value.toPrecision(6)))).replace(/^-/, '\u2212'),
    percent: (share, digits = 1) => isNumber(share) ? fixed(share * 100, digits) + ' %' : missing,
    // A change in percent, or from ten times on as a factor.
    change: (value, reference, digits = 2) => {
      if (!isNumber(value) || !isNumber(reference)) return missing;
      if (value >= 10 * reference) return fixed(value / reference, 0) + '\u00d7';
      const share = value / reference - 1;
      const text = fixed(share * 100, digits) + ' %';
      return share > 0 && Number((share * 100).toFixed(digits)) !== 0 ? '+' + text : text;
    },
    times: (factor) => isNumber(factor) ? fixed(factor, 2) + '\u00d7' : missing,
    number: (value) => isNumber(value) ? String(value).replace(/^-/, '\u2212') : missing,
    perplexity: (value) => fixed(value, isNumber(value) && value >= 1000 ? 0 : 4),
  };

  // Elements. Children are nodes or text; null leaves nothing.
  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : String(value));
    for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
    return node;
  };
  // A computed name, which may be broken after its dots and underscores only.
  const name = (text) => element('span', { class: 'name' }, text.split(/(?<=[._])/).flatMap((part, i) => i === 0 ? [part] : [element('wbr'), part]));
  const main = document.getElementById('report');
  const subtitle = (text) => { document.getElementById('subtitle').textContent = text; };
  const section = (title, intro, ...children) => {
    const node = element('section', { class: 'card' }, element('h2', {}, title), intro ? element('p', {}, intro) : null, ...children);
    main.append(node);
    return node;
  };
  const tiles = (items) => main.append(element('div', { class: 'tiles' }, items.map((item) => element('div', { class: 'tile' },
    element('p', { class: 'label' }, item.label),
    element('p', { class: 'value', 'data-value': item.raw }, item.value),
    item.note ? element('p', { class: 'note' }, item.note) : null))));

  // A column is { title, number, list }; a cell is text, a node, or { text, raw }: raw is the value in the data, unrounded.
  const table = (caption, columns, rows, rowClass = () => null) => {
    const cell = (content, column) => {
      const held = content !== null && typeof content === 'object' && 'text' in content && !(content instanceof Node);
      return element('td', { class: column.number ? 'number' : column.list ? 'list' : null, 'data-value': held ? content.raw : null }, held ? content.text : content);
    };
    return element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, element('table', {},
      element('caption', {}, caption),
      element('thead', {}, element('tr', {}, columns.map((column) => element('th', { scope: 'col', class: column.number ? 'number' : null }, column.title)))),
      element('tbody', {}, rows.map((row, i) => element('tr', { class: rowClass(i) }, row.map((content, k) => cell(content, columns[k])))))));
  };
  const details = (summary, ...children) => element('details', {}, element('summary', {}, summary), ...children);

  // Theme: the system's until the reader chooses.
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const key = 'kernelgen-report-theme';
  let chosen = null;
  try { chosen = localStorage.getItem(key); } catch { /* A file may have no storage. */ }
  if (chosen !== 'dark' && chosen !== 'light') chosen = null;
  const button = document.getElementById('theme');
  const charts = [];
  const applyTheme = () => {
    const dark = chosen === null ? system.matches : chosen === 'dark';
    root.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light theme' : 'Dark theme';
    for (const chart of charts) chart.draw();
  };
  button.hidden = false;
  button.addEventListener('click', () => {
    chosen = root.dataset.theme === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem(key, chosen); } catch { /* Remembered for this visit only. */ }
    applyTheme();
  });
  system.addEventListener('change', applyTheme);
  applyTheme();

  const colors = () => {
    const style = getComputedStyle(root);
    return new Proxy({}, { get: (_, name) => style.getPropertyValue('--' + String(name).replace(/[A-Z]|\d/g, (letter) => '-' + letter.toLowerCase())).trim() });
  };

  // What all charts have in common.
  const base = (c) => ({
    animation: false,
    textStyle: { fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', color: c.text },
  });
  // Drawn as text, so that nothing in it can become HTML.
  const tooltip = (c, options) => ({
    renderMode: 'richText', confine: true, backgroundColor: c.card, borderColor: c.strongLine, borderWidth: 1, padding: [8, 10],
    textStyle: { color: c.text, fontSize: 13 }, ...options,
  });
  const axis = (c, options) => ({
    nameLocation: 'middle', nameTextStyle: { color: c.muted, fontSize: 12 },
    axisLine: { show: true, lineStyle: { color: c.strongLine } }, axisTick: { show: false },
    axisLabel: { color: c.muted, fontSize: 12, ...options.axisLabel },
    splitLine: { show: options.type !== 'category', lineStyle: { color: c.line } },
    ...Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'axisLabel')),
  });

  // Room left of a category axis for its longest label.
  const labelRoom = (names) => 16 + 7.2 * Math.max(...names.map((name) => name.length));

  // Round ends of a logarithmic axis.
  const below = (value) => { const power = 10 ** Math.floor(Math.log10(value)); return [5, 2, 1].map((step) => step * power).find((step) => step <= value); };
  const above = (value) => { const power = 10 ** Math.floor(Math.log10(value)); return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value); };

  // A figure: the chart as an image with words for those who do not see it, and its numbers as a table.
  // `option(colors, width)` makes the chart anew whenever theme or width change.
  const chart = ({ caption, alt, height, minWidth = 0, option, table: numbers }) => {
    const canvas = element('div', { class: 'chart', role: 'img', 'aria-label': alt, style: `min-width:${minWidth}px` });
    const figure = element('figure', {}, element('figcaption', {}, caption), element('div', { class: 'scroll' }, canvas), numbers ? details('Numbers as a table', numbers) : null);
    let instance = null;
    let width = 0;
    const entry = {
      draw: () => {
        if (!canvas.isConnected || canvas.clientWidth === 0) return;
        width = canvas.clientWidth;
        canvas.style.height = (typeof height === 'function' ? height(width) : height) + 'px';
        instance?.dispose();
        instance = echarts.init(canvas, null, { renderer: 'svg' });
        const c = colors();
        instance.setOption({ ...base(c), ...option(c, width) });
      },
    };
    charts.push(entry);
    // Drawn in the next frame: what an observer changes at once would call it again.
    new ResizeObserver(() => { if (canvas.clientWidth !== width) requestAnimationFrame(entry.draw); }).observe(canvas);
    return figure;
  };

  return { data, format, element, name, section, subtitle, tiles, table, details, chart, axis, tooltip, labelRoom, below, above, missing };
})();
