/** The curve of a run as SVG: the memory of each process and server, and how much was done. */
import type { CurvePoint } from './report.ts'

const WIDTH = 960
const HEIGHT = 480
const MARGIN = { left: 60, right: 190, top: 24, bottom: 44 }
const MB = 1_000_000
const MINUTE = 60_000
const LABEL_HEIGHT = 15
const TICKS = 6

/** @param title no markup */
export function curveSvg(points: readonly CurvePoint[], title: string): string {
  const names = [...new Set(points.flatMap(({ rss }) => Object.keys(rss)))].toSorted()
  const longest = Math.max(1, ...points.map(({ atMs }) => atMs))
  const highest = niceAbove(Math.max(1, ...points.flatMap(({ rss }) => Object.values(rss))) / MB)
  const most = Math.max(1, ...points.map(({ done }) => done))
  const x = (atMs: number): number => MARGIN.left + (atMs / longest) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (share: number): number => HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const lines = names.map((name, index) => {
    const own = points.filter(({ rss }) => rss[name] !== undefined)
    return polyline(
      own.map(({ atMs, rss }) => [x(atMs), y((rss[name] ?? 0) / MB / highest)]),
      colour(index, names.length),
      '',
    )
  })
  const done = polyline(
    points.map((point) => [x(point.atMs), y(point.done / most)]),
    '#888',
    '4 4',
  )
  const labels = names.map((name, index) => label(name, colour(index, names.length), index))
  const axes = Array.from({ length: TICKS + 1 }, (_, n) => {
    const share = n / TICKS
    const minutes = (share * longest) / MINUTE
    return `${text(MARGIN.left - 6, y(share) + 4, (share * highest).toFixed(0), 'end')}${text(x(share * longest), HEIGHT - MARGIN.bottom + 18, minutes.toFixed(longest < 10 * MINUTE ? 1 : 0), 'middle')}<path d="M${MARGIN.left} ${y(share)}H${WIDTH - MARGIN.right}" stroke="#ddd"/>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(MARGIN.left, 15, `${title}: RSS in MB, minutes; dashed: orders done, of ${most}`, 'start'),
    ...axes,
    ...lines,
    done,
    ...labels,
    '</svg>',
    '',
  ].join('\n')
}

function polyline(points: readonly (readonly [number, number])[], stroke: string, dashes: string): string {
  const path = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')
  return `<polyline points="${path}" fill="none" stroke="${stroke}" stroke-width="1.5"${dashes && ` stroke-dasharray="${dashes}"`}/>`
}

function label(name: string, fill: string, index: number): string {
  const left = WIDTH - MARGIN.right + 12
  const top = MARGIN.top + index * LABEL_HEIGHT
  return `<path d="M${left} ${top}h16" stroke="${fill}" stroke-width="3"/>${text(left + 22, top + 4, name, 'start')}`
}

function text(x: number, y: number, content: string, anchor: string): string {
  return `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}" text-anchor="${anchor}">${content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`
}

function colour(index: number, of: number): string {
  return `hsl(${Math.round((index / of) * 360)} 65% 42%)`
}

/** A round number at or above it. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) ?? 10) * power
}
