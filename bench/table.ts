import type { Result } from './compare.ts'

const HEAD = ['what', 'concordat', 'peer', 'ratio', 'the peer is'] as const

/** Prints results as an aligned table that is also Markdown. */
export function printTable(title: string, results: readonly Result[]): void {
  const rows = [HEAD, ...results.map(cells)]
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`
  const [head, ...body] = rows.map(line)
  console.log(`\n${title}\n\n${[head, rule, ...body].join('\n')}\n`)
}

function cells({ what, ours, peer, peerName }: Result): readonly string[] {
  return [
    what,
    number(ours),
    peer === undefined ? '-' : number(peer),
    peer === undefined ? '-' : (ours / peer).toFixed(2),
    peerName ?? '-',
  ]
}

function number(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)
}
