// The table of how long what was not to be had, by kind of fault.
const middle = (sorted) => (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2;
const seconds = (ms) => (ms / 1000).toFixed(2);

// As a table in Markdown: rows are { kind, size, gap, wait, back } in milliseconds.
export function figures(rows) {
  const kinds = [...new Set(rows.map(({ kind, size }) => `${size} members: ${kind}`))].sort();
  const head = ['Fault', 'times', 'no writes to a partition: median', 'longest', 'a client without an answer: median', 'longest', 'well again: longest'];
  const lines = kinds.map((label) => {
    const some = rows.filter(({ kind, size }) => `${size} members: ${kind}` === label);
    const of = (field) => some.map((row) => row[field]).sort((a, b) => a - b);
    const [gap, wait, back] = [of('gap'), of('wait'), of('back')];
    return [label, some.length, seconds(middle(gap)), seconds(gap.at(-1)), seconds(middle(wait)), seconds(wait.at(-1)), seconds(back.at(-1))];
  });
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
