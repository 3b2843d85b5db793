/**
 * Positions of services and channels, in columns from senders to readers. A cycle is cut at the edge that leads back to its
 * start.
 */
import { counted } from '@concordat/cli/words'
import type { SystemTopology } from 'concordat/operator'
import { keyOf } from './live.ts'

export interface Node {
  readonly kind: 'service' | 'channel'
  readonly name: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  /** Reader groups of a channel. */
  readonly groups: readonly string[]
  readonly below: string
}

export interface Edge {
  readonly from: string
  readonly to: string
  /** `keyOf` of a reader's group. */
  readonly binding: string | undefined
  readonly path: string
  readonly said: string
}

export interface Picture {
  readonly nodes: readonly Node[]
  readonly edges: readonly Edge[]
  readonly width: number
  readonly height: number
}

interface Link {
  readonly from: string
  readonly to: string
  readonly binding: string | undefined
  readonly said: string
}

const [BOX, TALL, GAP_X, GAP_Y, PAD] = [178, 44, 64, 22, 14]
const SWEEPS = 6

export function layOut({ services, channels }: SystemTopology): Picture {
  const shown = channels.filter(({ role }) => role === 'channel' || role === 'replies')
  const links: Link[] = shown.flatMap(({ name, senders, readers }) => [
    ...senders.map((service) => ({
      from: `s ${service}`,
      to: `c ${name}`,
      binding: undefined,
      said: `${service} sends ${name}`,
    })),
    ...readers.map(({ service, group }) => ({
      from: `c ${name}`,
      to: `s ${service}`,
      binding: group === null ? undefined : keyOf({ channel: name, group }),
      said: `${service} reads ${name}${group === null ? '' : ` as ${group}`}`,
    })),
  ])
  const keys = [...services.map(({ name }) => `s ${name}`), ...shown.map(({ name }) => `c ${name}`)]
  const columns = ordered(columnsOf(keys, links), links)
  const tallest = Math.max(1, ...columns.map(({ length }) => length))
  const height = PAD * 2 + tallest * (TALL + GAP_Y) - GAP_Y
  const places = new Map<string, { readonly x: number; readonly y: number }>()
  for (const [n, column] of columns.entries()) {
    const free = height - PAD * 2 - (column.length * (TALL + GAP_Y) - GAP_Y)
    for (const [m, key] of column.entries())
      places.set(key, { x: PAD + n * (BOX + GAP_X), y: PAD + free / 2 + m * (TALL + GAP_Y) })
  }
  const nodes = keys.map((key): Node => {
    const name = key.slice(2)
    const channel = key.startsWith('c ') ? shown.find((each) => each.name === name) : undefined
    const service = services.find((each) => each.name === name)
    const { x, y } = places.get(key) ?? { x: 0, y: 0 }
    const groups = channel?.readers.flatMap(({ group }) => group ?? []) ?? []
    const kinds = channel === undefined && service !== undefined ? belowOf(service) : ''
    return {
      kind: channel === undefined ? 'service' : 'channel',
      name,
      x,
      y,
      width: BOX,
      height: TALL,
      groups,
      below: kinds,
    }
  })
  const edges = links.map((link) => ({ ...link, path: pathOf(places.get(link.from), places.get(link.to)) }))
  return { nodes, edges, width: PAD * 2 + columns.length * (BOX + GAP_X) - GAP_X, height }
}

function belowOf({ bindings, sagas, leads, schedules }: SystemTopology['services'][number]): string {
  const plural = (n: number, word: string): string[] => (n === 0 ? [] : [counted(n, word)])
  return [
    ...plural(bindings.length, 'binding'),
    ...plural(sagas.length, 'saga'),
    ...plural(leads.length + schedules.length, 'role'),
  ].join(', ')
}

/** Columns by the longest path from a source: services without inputs, otherwise those declared first. */
function columnsOf(keys: readonly string[], links: readonly Link[]): string[][] {
  const read = new Set(links.map(({ to }) => to))
  const rank = (key: string): number => (read.has(key) ? 2 : 0) + (key.startsWith('s ') ? 0 : 1)
  const kept = withoutCircles(
    [...keys].sort((a, b) => rank(a) - rank(b)),
    links,
  )
  const depth = new Map<string, number>()
  const depthOf = (key: string): number => {
    const known = depth.get(key)
    if (known !== undefined) return known
    const before = kept.filter(({ to }) => to === key).map(({ from }) => depthOf(from))
    const own = Math.max(-1, ...before) + 1
    depth.set(key, own)
    return own
  }
  const columns: string[][] = []
  for (const key of keys) {
    const n = depthOf(key)
    columns[n] = [...(columns[n] ?? []), key]
  }
  return Array.from(columns, (column) => column ?? []).filter((column) => column.length > 0)
}

/** Edges without those that lead back to a node on the present path. */
function withoutCircles(keys: readonly string[], links: readonly Link[]): readonly Link[] {
  const kept: Link[] = []
  const state = new Map<string, 'open' | 'done'>()
  const visit = (key: string): void => {
    state.set(key, 'open')
    for (const link of links) {
      if (link.from !== key || state.get(link.to) === 'open') continue
      kept.push(link)
      if (!state.has(link.to)) visit(link.to)
    }
    state.set(key, 'done')
  }
  for (const key of keys) if (!state.has(key)) visit(key)
  return kept
}

/** Puts each box beside the middle of its neighbours, so that fewer edges cross. */
function ordered(columns: string[][], links: readonly Link[]): string[][] {
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const place = new Map(
      columns.flatMap((column) => column.map((key, n) => [key, n / Math.max(1, column.length - 1)] as const)),
    )
    const middle = (key: string): number => {
      const beside = links.flatMap(({ from, to }) => (from === key ? [to] : to === key ? [from] : []))
      const places = beside.map((each) => place.get(each) ?? 0)
      return places.length === 0 ? (place.get(key) ?? 0) : places.reduce((a, b) => a + b, 0) / places.length
    }
    for (const column of columns) column.sort((a, b) => middle(a) - middle(b))
  }
  return columns
}

type Corner = { readonly x: number; readonly y: number } | undefined

function pathOf(from: Corner, to: Corner): string {
  if (from === undefined || to === undefined) return ''
  const [y1, y2] = [from.y + TALL / 2, to.y + TALL / 2]
  if (to.x > from.x) {
    const [x1, x2] = [from.x + BOX, to.x - 2]
    const bend = Math.max(30, (x2 - x1) / 2)
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
  }
  // An edge back runs below both boxes.
  const low = Math.max(from.y, to.y) + TALL + GAP_Y / 2
  const [x1, x2] = [from.x + BOX / 2, to.x + BOX / 2]
  return `M${x1} ${from.y + TALL}C${x1} ${low + 16} ${x2} ${low + 16} ${x2} ${to.y + TALL + 2}`
}
