/** Components that all views share. */
import { MOST_COUNTED } from '@concordat/cli/words'
import type { ButtonHTMLAttributes, ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { Refused } from './api.ts'
import type { Moving } from './live.ts'

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'quiet'

const TONES: Readonly<Record<string, Tone>> = {
  running: 'good',
  completed: 'good',
  alive: 'good',
  ok: 'good',
  invoked: 'good',
  confirmed: 'good',
  closed: 'good',
  compensated: 'info',
  compensating: 'warn',
  connecting: 'warn',
  paused: 'warn',
  suspect: 'warn',
  warn: 'warn',
  'half-open': 'warn',
  stuck: 'bad',
  halted: 'bad',
  open: 'bad',
  fail: 'bad',
  failed: 'bad',
  refused: 'bad',
  unknown: 'bad',
  invoking: 'info',
  confirming: 'info',
}

const SIGNS: Readonly<Record<Tone, string>> = { good: '●', warn: '▲', bad: '■', info: '◆', quiet: '○' }

/** A status with text, colour and shape, so that it never depends on colour alone. */
export function Badge({ is, tone, children }: { is: string; tone?: Tone; children?: ComponentChildren }) {
  const shown = tone ?? TONES[is] ?? 'quiet'
  return (
    <span class={`badge ${shown}`}>
      <span aria-hidden="true">{SIGNS[shown]}</span> {children ?? is}
    </span>
  )
}

export function Panel(props: { title: string; aside?: ComponentChildren; children: ComponentChildren; id?: string }) {
  const id = props.id ?? props.title.toLowerCase().replaceAll(/\W+/g, '-')
  return (
    <section class="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.aside !== undefined && <div class="aside">{props.aside}</div>}
      </header>
      {props.children}
    </section>
  )
}

/** Reports below a list that ends at a limit that there may be more. */
export function Cut({ rows, most, how = '' }: { rows: readonly unknown[] | undefined; most: number; how?: string }) {
  if (rows === undefined || rows.length < most) return null
  return (
    <p class="note">
      There may be more than these {most}
      {how}.
    </p>
  )
}

export interface Column<T> {
  readonly head: string
  readonly cell: (row: T) => ComponentChildren
  readonly number?: boolean
}

/** Rows become cards on narrow screens. */
export function Table<T>(props: {
  label: string
  columns: readonly Column<T>[]
  rows: readonly T[]
  keyOf: (row: T) => string
  empty: string
}) {
  const { label, columns, rows, keyOf, empty } = props
  if (rows.length === 0) return <p class="empty">{empty}</p>
  return (
    // Takes the focus, so that keyboard users can scroll it.
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, number }) => (
              <th scope="col" class={number ? 'number' : ''} key={head}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ head, cell, number }) => (
                <td class={number ? 'number' : ''} data-head={head} key={head}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export function Trouble({
  problem,
  again,
}: {
  problem: Refused | { code: string; message: string }
  again?: () => void
}) {
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{problem.code}</strong> {problem.message}
      </p>
      {again !== undefined && <Button onClick={again}>Try again</Button>}
    </div>
  )
}

export function Button(props: ButtonHTMLAttributes<HTMLButtonElement> & { look?: 'plain' | 'strong' | 'danger' }) {
  const { look = 'plain', class: extra, ...rest } = props
  return <button type="button" {...rest} class={`button ${look} ${typeof extra === 'string' ? extra : ''}`} />
}

/** `3 h ago`, with the exact time readable by everybody. */
export function Ago({ at }: { at: number | undefined }) {
  if (at === undefined) return <span class="quiet">-</span>
  const iso = new Date(at).toISOString()
  return (
    <time dateTime={iso} title={iso}>
      {lasting(Date.now() - at)} ago
    </time>
  )
}

export function lasting(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000
  if (seconds < 1) return `${Math.round(Math.max(0, ms))} ms`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const exact = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

export const isMost = (value: number | undefined): boolean => value !== undefined && value >= MOST_COUNTED

/**
 * @param isCut counting stopped at this number, which a plus sign shows
 */
export function count(value: number | undefined, isCut = false): string {
  if (value === undefined) return '-'
  return `${Math.abs(value) >= 100 ? whole.format(value) : exact.format(value)}${isCut ? '+' : ''}`
}

export function perSecond(value: number | undefined): string {
  return value === undefined ? '-' : `${count(Math.abs(value) < 0.05 ? 0 : value)}/s`
}

/** A chart of recent values; the number beside it shows the latest. */
export function Spark({ of, label }: { of: readonly Moving[]; label: string }) {
  // Needs two values; constant values draw no line.
  if (of.length < 2 || of.every(({ value }) => value === of[0]?.value)) return null
  const [width, height] = [96, 24]
  const values = of.map(({ value }) => value)
  const most = Math.max(1, ...values)
  const x = (n: number): number => (n * width) / (of.length - 1)
  const points = values.map(
    (value, n) => `${x(n).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`,
  )
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" aria-label={label}>
      <polygon points={`0,${height} ${points.join(' ')} ${width},${height}`} />
      <polyline points={points.join(' ')} />
    </svg>
  )
}

export function Field(props: { label: string; children: ComponentChildren; hint?: string }) {
  return (
    <label class="field">
      <span>{props.label}</span>
      {props.children}
      {props.hint !== undefined && <small>{props.hint}</small>}
    </label>
  )
}

export function Copy({ text }: { text: string }) {
  const [done, setDone] = useState(false)
  const copy = (): void => {
    void navigator.clipboard?.writeText(text).then(() => setDone(true))
  }
  return (
    <Button class="small" onClick={copy} aria-label={`Copy ${text}`}>
      {done ? 'Copied' : 'Copy'}
    </Button>
  )
}

/** A value as JSON, always as text. */
export function Json({ value }: { value: unknown }) {
  return (
    <pre class="json" tabIndex={0}>
      {typeof value === 'string' ? value : JSON.stringify(value, null, 2)}
    </pre>
  )
}
