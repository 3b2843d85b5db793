/** Views of sagas, dead letters and findings: error texts and header values only for users who may see payloads. */

import type { DoctorLine, DoctorReport, SagaLine, SagaView } from '@concordat/cli'
import type { DeadLetter } from 'concordat/binder'
import type { UndoDifference } from './engine-types.ts'
import { HIDDEN, type Redact, redacted, type ShownBody, showBody } from './redaction.ts'

/** A dead letter on the page. */
export interface DeadLetterView extends Omit<DeadLetter, 'body' | 'headers'> {
  /** Values are `***` without the right to see payloads. */
  readonly headers: Readonly<Record<string, unknown>>
}

/** A payload that was read. */
export interface PayloadView {
  readonly body?: ShownBody | undefined
  readonly input?: unknown
  readonly results?: ReadonlyArray<{ readonly step: string; readonly result: unknown }>
  readonly rows?: readonly RowView[] | undefined
}

/** A difference of a branch, with values passed through `redact`. */
export interface RowView extends Pick<UndoDifference, 'table' | 'column'> {
  readonly key: Readonly<Record<string, unknown>>
  readonly expected: unknown
  readonly found: unknown
}

type Failure = { readonly code: string; readonly message: string }

const wordless = <T extends Failure>(failure: T): T => ({ ...failure, message: HIDDEN })

export function lineView(line: SagaLine, words: boolean): SagaLine {
  return words || line.failure === null ? line : { ...line, failure: wordless(line.failure) }
}

export function sagaView(view: SagaView, words: boolean): SagaView {
  if (words) return view
  return {
    ...view,
    failure: view.failure === null ? null : wordless(view.failure),
    steps: view.steps.map((step) => (step.error === undefined ? step : { ...step, error: wordless(step.error) })),
    timeline: view.timeline.map(wordlessEntry),
  }
}

/**
 * Details of a timeline entry that are error texts. The reason `why` an action was refused may be a schema's message, which
 * quotes values.
 */
const WORDS: ReadonlySet<string> = new Set(['message', 'why'])

function wordlessEntry(entry: SagaView['timeline'][number]): SagaView['timeline'][number] {
  if (entry.detail === undefined) return entry
  const shown = Object.entries(entry.detail).map(([name, value]) => [name, WORDS.has(name) ? HIDDEN : value] as const)
  return { ...entry, detail: Object.fromEntries(shown) }
}

export function doctorView(report: DoctorReport, words: boolean): DoctorReport {
  return words ? report : { ...report, lines: report.lines.map(wordlessLine) }
}

function wordlessLine({ error, ...line }: DoctorLine): DoctorLine {
  return error === undefined
    ? line
    : { ...line, text: `${line.text.slice(0, line.text.length - error.length)}${HIDDEN}` }
}

export function letterView(
  { body: _body, headers, error, ...letter }: DeadLetter,
  channel: string,
  words: boolean,
  redact: Redact | undefined,
): DeadLetterView {
  if (!words) {
    const hidden = Object.fromEntries(Object.keys(headers).map((name) => [name, HIDDEN]))
    const { name, code } = error
    return { ...letter, headers: hidden, error: { name, code, message: HIDDEN, stack: undefined } }
  }
  const shown = redacted(headers, { kind: 'letter', channel, path: 'headers' }, redact)
  return { ...letter, headers: shown as DeadLetterView['headers'], error }
}

export function letterPayload(letter: DeadLetter, channel: string, redact: Redact | undefined): PayloadView {
  return { body: showBody(letter.body, { kind: 'letter', channel, path: 'body' }, redact) }
}

export function sagaPayload({ saga, input, steps }: SagaView, redact: Redact | undefined): PayloadView {
  const show = (value: unknown, path: string): unknown => redacted(value, { kind: 'saga', saga, path }, redact)
  return {
    input: show(input, 'input'),
    results: steps
      .filter(({ result }) => result !== undefined)
      .map(({ step, result }) => ({ step, result: show(result, `results.${step}`) })),
  }
}

export function rowPayload(
  { table, key, column, expected, found }: UndoDifference,
  saga: string,
  redact: Redact | undefined,
): RowView {
  const show = (name: string, value: unknown): unknown => {
    const shown = redacted({ [name]: value }, { kind: 'row', saga, path: table }, redact)
    return typeof shown === 'object' && shown !== null ? Object.values(shown)[0] : shown
  }
  const shownKey = Object.fromEntries(Object.entries(key).map(([name, value]) => [name, show(name, value)]))
  // A whole-row difference shows only whether the row exists, no value.
  if (column === undefined) return { table, key: shownKey, expected, found }
  return { table, column, key: shownKey, expected: show(column, expected), found: show(column, found) }
}
