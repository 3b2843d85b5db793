/** A saga as bars over time. Gaps have logarithmic widths, since a pause of an hour may lie beside calls of milliseconds. */

import type { SagaView } from '@concordat/cli'
import { counted } from '@concordat/cli/words'
import { lasting } from './ui-components.tsx'

interface Bar {
  readonly from: number
  readonly to: number
  readonly look: 'forward' | 'back' | 'wait' | 'open'
  readonly said: string
}

interface Mark {
  readonly at: number
  readonly sign: string
  readonly bad: boolean
  readonly said: string
}

interface Lane {
  readonly step: string
  readonly bars: readonly Bar[]
  readonly marks: readonly Mark[]
}

const BEGINS: Readonly<Record<string, Bar['look']>> = {
  invoking: 'forward',
  confirming: 'forward',
  compensating: 'back',
  waiting: 'wait',
  signalled: 'wait',
}
const ENDS = new Set([
  'invoked',
  'confirmed',
  'refused',
  'failed',
  'timed-out',
  'orphaned',
  'compensated',
  'stuck',
  'expired',
  'omitted',
  'operator-skip',
  'undo',
])
const BAD = new Set(['refused', 'failed', 'timed-out', 'orphaned', 'stuck', 'expired', 'operator-refused'])
const [LEFT, RIGHT, ROW, TOP] = [140, 20, 34, 28]
const WIDTH = 900

export function Timeline({ view }: { view: SagaView }) {
  const ended = view.status === 'completed' || view.status === 'compensated'
  const last = view.timeline.at(-1)?.at ?? view.startedAt
  const end = ended ? last : Math.max(last, Date.now())
  const lanes = lanesOf(view, end)
  const x = scaleOf([view.startedAt, ...view.timeline.map(({ at }) => at), end])
  const height = TOP + lanes.length * ROW + 8
  const label = `${counted(lanes.length, 'step')} over ${lasting(end - view.startedAt)}; the history below says the same`
  return (
    <div class="scroll" role="region" aria-label="Timeline of the steps" tabIndex={0}>
      <svg class="timeline" viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={label}>
        {ticks(x, view.startedAt, end).map(({ at, text }) => (
          <g key={at}>
            <line class="tick" x1={at} x2={at} y1={TOP - 8} y2={height} />
            <text class="axis" x={at} y={12} text-anchor="middle">
              {text}
            </text>
          </g>
        ))}
        {lanes.map((lane, n) => (
          <g transform={`translate(0 ${TOP + n * ROW})`} key={lane.step}>
            <text class="lane" x={LEFT - 12} y={19} text-anchor="end">
              {lane.step.length > 17 ? `${lane.step.slice(0, 16)}…` : lane.step}
              <title>{lane.step}</title>
            </text>
            {lane.bars.map((bar) => (
              <rect
                class={`bar ${bar.look}`}
                x={x(bar.from)}
                y={5}
                width={Math.max(4, x(bar.to) - x(bar.from))}
                height={18}
                rx={4}
                key={`${bar.from} ${bar.look}`}
              >
                <title>{bar.said}</title>
              </rect>
            ))}
            {lane.marks.map((mark, m) => (
              <text class={`mark ${mark.bad ? 'bad' : 'good'}`} x={x(mark.at)} y={19} text-anchor="middle" key={m}>
                {mark.sign}
                <title>{mark.said}</title>
              </text>
            ))}
          </g>
        ))}
      </svg>
      <p class="legend">
        {LEGEND.map(([look, word]) => (
          <span class="entry" key={look}>
            <span class={look} /> {word}
          </span>
        ))}
      </p>
    </div>
  )
}

const LEGEND = [
  ['forth', 'forward'],
  ['undoing', 'undoing'],
  ['pause', 'waiting'],
  ['now', 'open now'],
] as const

function lanesOf({ steps, timeline }: SagaView, end: number): readonly Lane[] {
  return steps.map(({ step, wait }) => {
    const bars: Bar[] = []
    const marks: Mark[] = []
    let begun: { readonly at: number; readonly look: Bar['look'] } | undefined
    const close = (to: number, said: string): void => {
      if (begun !== undefined)
        bars.push({ from: begun.at, to, look: begun.look, said: `${step}: ${said} after ${lasting(to - begun.at)}` })
      begun = undefined
    }
    for (const { at, kind, step: of, detail } of timeline) {
      if (of !== step) continue
      const look = BEGINS[kind]
      if (look !== undefined) {
        close(at, kind)
        begun = { at, look }
      } else if (ENDS.has(kind)) close(at, kind)
      if (BAD.has(kind)) marks.push({ at, sign: '✕', bad: true, said: `${kind} ${detail?.['code'] ?? ''}` })
      else if (kind.startsWith('operator-'))
        marks.push({ at, sign: '☝', bad: false, said: `${kind} by ${detail?.['by'] ?? '?'}` })
      else if (kind === 'invoked' || kind === 'confirmed' || kind === 'compensated')
        marks.push({ at, sign: '✓', bad: false, said: kind })
      if (kind === 'stuck') begun = { at, look: 'open' }
    }
    if (begun !== undefined && wait !== undefined)
      bars.push({ from: begun.at, to: end, look: 'open', said: `${step}: waits` })
    return { step, bars, marks }
  })
}

type Scale = (at: number) => number

/** From times to positions; linear between two times. */
function scaleOf(moments: readonly number[]): Scale {
  const sorted = [...new Set(moments)].sort((a, b) => a - b)
  const weights = sorted.slice(1).map((at, n) => Math.log1p((at - (sorted[n] ?? 0)) / 4) + 0.4)
  const sum = weights.reduce((a, b) => a + b, 0) || 1
  const room = WIDTH - LEFT - RIGHT
  const places = [0]
  for (const weight of weights) places.push((places.at(-1) ?? 0) + (weight / sum) * room)
  return (at) => {
    const after = sorted.findIndex((moment) => moment >= at)
    if (after <= 0) return LEFT + (after === 0 ? 0 : room)
    const [from, to] = [sorted[after - 1] ?? 0, sorted[after] ?? 0]
    const share = to === from ? 0 : (at - from) / (to - from)
    return LEFT + (places[after - 1] ?? 0) + share * ((places[after] ?? 0) - (places[after - 1] ?? 0))
  }
}

function ticks(x: Scale, from: number, to: number): ReadonlyArray<{ readonly at: number; readonly text: string }> {
  const steps = [0, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000, 604_800_000].filter(
    (ms) => ms < to - from,
  )
  const found: Array<{ readonly at: number; readonly text: string }> = []
  for (const ms of [...steps, to - from]) {
    const at = x(from + ms)
    if (found.length > 0 && at - (found.at(-1)?.at ?? 0) < 60) {
      if (ms !== to - from) continue
      found.pop()
    }
    found.push({ at, text: ms === 0 ? 'start' : lasting(ms) })
  }
  return found
}
