/** Action routes, one each. Each action is authorized for its exact target, requires a reason, and is recorded in the audit. */

import type { ChosenSaga, DeadLetterProgress, SagaBulkReport } from '@concordat/cli'
import { requireText } from 'concordat/extension'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { ConsoleAction } from './access.ts'
import type { Fields } from './input.ts'
import { Problem } from './problem.ts'
import { type Backend, branchIn, inTurn, lettersTarget, letterTarget, lookInTurn, placeIn } from './read-routes.ts'
import { letterPayload, letterView, rowPayload, sagaPayload } from './redacted-views.ts'

/** An action before its execution. */
export interface Deed {
  readonly action: ConsoleAction
  readonly target: string
  /** `run` authorizes each of its targets; before it, only the action must be allowed. */
  readonly asksEach?: boolean | undefined
  /** Must be allowed as well. */
  readonly also?: { readonly action: ConsoleAction; readonly target: string } | undefined
  /** Nothing is changed. */
  readonly isDryRun: boolean
  /** @default the field `reason`, without which nothing is done */
  readonly reason?: string | undefined
  readonly run: (note: OperatorNote) => Promise<unknown>
}

/** Result of a bulk action, without the sagas that the user may not settle. */
export interface AllowedBulkReport extends SagaBulkReport {
  /** Number of those sagas: nothing was done to them. */
  readonly notAllowed: number
}

type Write = (backend: Backend, fields: Fields, request: Request) => Deed

const SAGA_ACTIONS = ['retry', 'skip', 'compensate', 'resolve', 'cancel'] as const
const OUTCOMES = ['completed', 'compensated'] as const
const MAX_BULK = 1_000
const MAX_LETTERS = 10_000
const MAX_LISTED = 1_000
/** Limit of a reading, including messages that it skips. */
const LOOK = { lookAtBytes: 32 * 1_024 * 1_024 }
/** Number of letters that are read for a page. */
const PAGE = { ...LOOK, lookAt: 1_000 }

const WRITES: Readonly<Record<string, Write>> = {
  saga: settleSaga,
  sagas: settleSagas,
  letters: settleLetters,
  look: lookAtLetters,
  outbox: settleOutbox,
  lock: ({ operator }, fields) => {
    const key = fields.text('key')
    return deed('lock.release', key, (note) => operator.locks.release(key, { ...note, tokens: tokensIn(fields) }))
  },
  leader: ({ operator }, fields) => {
    const role = fields.text('role')
    return deed('leader.step-down', role, (note) =>
      operator.leaders.stepDown(role, { ...note, tokens: tokensIn(fields) }),
    )
  },
  undo: settleUndo,
  binding: pauseOrResume,
  payload: showPayload,
}

/** @throws Problem 404; TypeError / RangeError with the name of the field */
export function deedOf(name: string, backend: Backend, fields: Fields, request: Request): Deed {
  if (!Object.hasOwn(WRITES, name)) throw new Problem(404, 'console.not_found', 'there is no such action')
  return (WRITES[name] as Write)(backend, fields, request)
}

function deed(action: ConsoleAction, target: string, run: Deed['run'], isDryRun = false): Deed {
  return { action, target, run, isDryRun }
}

function settleSaga({ operator: { sagas } }: Backend, fields: Fields): Deed {
  const target = { saga: fields.text('saga'), id: fields.text('id') }
  const verb = fields.oneOf('do', SAGA_ACTIONS)
  const seen = { timesStuck: fields.optionalCount('timesStuck', Number.MAX_SAFE_INTEGER, 0) }
  const run = (note: OperatorNote): Promise<unknown> => {
    if (verb === 'cancel') return sagas.cancel(target, note)
    if (verb === 'resolve')
      return sagas.resolve(target, { ...note, ...seen, outcome: fields.oneOf('outcome', OUTCOMES) })
    if (verb === 'skip') return sagas.skip(target, { ...note, ...seen, result: fields.raw('result') })
    return sagas[verb](target, { ...note, ...seen })
  }
  if (verb === 'resolve') fields.oneOf('outcome', OUTCOMES)
  return deed(`saga.${verb}`, `${target.saga}/${target.id}`, run)
}

function settleSagas({ operator: { sagas }, access }: Backend, fields: Fields, request: Request): Deed {
  const action = fields.oneOf('do', SAGA_ACTIONS)
  const which = fields.object('filter')
  const filter = {
    saga: which.optionalText('saga'),
    idPrefix: which.optionalText('idPrefix'),
    owner: which.optionalText('owner'),
    code: which.optionalText('code'),
    olderThanMs: which.optionalCount('olderThanMs', Number.MAX_SAFE_INTEGER),
  }
  const outcome = action === 'resolve' ? fields.oneOf('outcome', OUTCOMES) : undefined
  const limit = fields.count('limit', MAX_BULK, 100)
  const among = fields.optionalList('among', MAX_BULK) as readonly ChosenSaga[] | undefined
  const dryRun = fields.isDryRun
  const said = Object.entries(filter).filter(([, value]) => value !== undefined)
  const target = `sagas ${said.map(([name, value]) => `${name}=${value}`).join(' ') || 'all'}`
  const run = async (note: OperatorNote): Promise<AllowedBulkReport> => {
    const order = { ...note, action, outcome, filter, limit }
    const { chosen, more } = await sagas.bulk({ ...order, among, dryRun: true })
    const may = await Promise.all(chosen.map(({ saga, id }) => access.may(request, `saga.${action}`, `${saga}/${id}`)))
    const allowed = chosen.filter((_, n) => may[n])
    const report = await sagas.bulk({ ...order, among: allowed, dryRun })
    return { ...report, more, notAllowed: chosen.length - allowed.length }
  }
  return { ...deed(`saga.${action}`, target, run, dryRun), asksEach: true }
}

/** Holders that the page showed. */
function tokensIn(fields: Fields): readonly number[] | undefined {
  return fields.optionalList('tokens', MAX_LISTED) as readonly number[] | undefined
}

/** Nothing is sent or dropped, but it takes the place of the group, and a broker may count it as a delivery. */
function lookAtLetters(backend: Backend, fields: Fields, request: Request): Deed {
  const { operator, access, redact } = backend
  const place = placeIn(fields)
  const limit = fields.count('limit', MAX_LISTED, 100)
  const filter = { code: fields.optionalText('code'), id: fields.optionalText('id') }
  const after = fields.optionalText('after')
  const run = async (): Promise<unknown> => {
    const counted = await operator.letters.count(place)
    const { letters, next } =
      counted === 0
        ? { letters: [], next: null }
        : await lookInTurn(backend, place, () => operator.letters.page(place, { ...filter, ...PAGE, after, limit }))
    const views = letters.map(async (letter) => {
      const words = await access.may(request, 'payloads', letterTarget(place, letter.id))
      return letterView(letter, place.channel, words, redact)
    })
    // The number read is the better count: the mark of a reading counts as a message until it is read.
    const isFiltered = filter.code !== undefined || filter.id !== undefined
    const isAll = !isFiltered && after === undefined && next === null
    return { count: isAll ? letters.length : counted, letters: await Promise.all(views), next }
  }
  return { ...deed('letters.look', lettersTarget(place), run, true), reason: 'a look' }
}

function settleLetters(backend: Backend, fields: Fields): Deed {
  const { operator, redact } = backend
  const place = placeIn(fields)
  const verb = fields.oneOf('do', ['redrive', 'drop'])
  const dryRun = fields.isDryRun
  const filter = {
    id: fields.optionalText('id'),
    code: fields.optionalText('code'),
    among: fields.optionalList('among', MAX_LETTERS)?.map((id, n) => requireText(`among[${n}]`, id)),
    limit: fields.count('limit', MAX_LETTERS, 100),
    dryRun,
    ...(dryRun && LOOK),
  }
  const to = fields.optionalText('to') === undefined ? undefined : fields.oneOf('to', ['channel', 'group'])
  const perSecond = fields.optionalCount('perSecond', 10_000)
  const run = async (note: OperatorNote): Promise<unknown> => {
    const settle = (onProgress?: (progress: DeadLetterProgress) => void) =>
      verb === 'drop'
        ? operator.letters.drop(place, { ...note, ...filter, onProgress })
        : operator.letters.redrive(place, { ...note, ...filter, to, perSecond, onProgress })
    const report = dryRun
      ? await lookInTurn(backend, place, settle)
      : await inTurn(backend, place, () => backend.underWay.during(place, verb, note.by, settle))
    return { ...report, letters: report.letters.map((each) => letterView(each, place.channel, false, redact)) }
  }
  return deed(`letters.${verb}`, lettersTarget(place), run, dryRun)
}

function settleOutbox({ operator }: Backend, fields: Fields): Deed {
  const id = fields.text('id')
  const source = fields.optionalText('source')
  const destination = fields.optionalText('destination')
  const which = source !== undefined && destination !== undefined ? { id, source, destination } : id
  const verb = fields.oneOf('do', ['retry', 'drop'])
  return deed(`outbox.${verb}`, id, async (note) => {
    if (await operator.outbox[verb](which, note)) return { done: true }
    throw new Problem(409, 'console.gone', 'no message under this id waits for anybody: it was settled meanwhile')
  })
}

function settleUndo({ operator }: Backend, fields: Fields): Deed {
  const target = branchIn(fields)
  const choice = fields.oneOf('choice', ['keep', 'restore', 'accept'])
  return deed('undo.settle', `${target.saga}/${target.id}/${target.step}`, async (note) => {
    await operator.undo.settle(target, choice, note)
    return { done: true }
  })
}

/**
 * An event on the bus: each addressed instance does it, or reports why not. The texts reported by instances are not passed on.
 */
function pauseOrResume({ operator }: Backend, fields: Fields): Deed {
  const verb = fields.oneOf('do', ['pause', 'resume'])
  const [to, binding] = [fields.text('to'), fields.text('binding')]
  return deed(`binding.${verb}`, `${to} ${binding}`, async (note) => {
    const order = { event: `${verb}-binding`, payload: { binding }, to, dryRun: false, ...note }
    const { acked, failed, ignored, missing } = await operator.bus.send(order)
    if (acked.length + failed.length + ignored.length + missing.length === 0)
      throw new Problem(409, 'console.gone', 'no live instance matches')
    return { acked, failed: failed.map(({ address, error }) => ({ address, code: error.code })), ignored, missing }
  })
}

/** The access is recorded in the audit before anything is read. */
function showPayload(backend: Backend, fields: Fields): Deed {
  const { operator, redact } = backend
  const reason = fields.optionalText('reason') ?? 'looked at the payload'
  const of = fields.oneOf('of', ['letter', 'saga', 'branch'])
  if (of === 'branch') {
    const branch = branchIn(fields)
    const target = `${branch.saga}/${branch.id}/${branch.step}`
    const run = async (note: OperatorNote): Promise<unknown> => {
      await operator.recordLook(target, note)
      const found = await operator.undo.differences(branch)
      return { rows: found.map((each) => rowPayload(each, branch.saga, redact)) }
    }
    return { ...deed('payloads', target, run), reason }
  }
  if (of === 'saga') {
    const key = { saga: fields.text('saga'), id: fields.text('id') }
    const target = `${key.saga}/${key.id}`
    const run = async (note: OperatorNote): Promise<unknown> => {
      await operator.recordLook(target, note)
      return sagaPayload(await operator.sagas.show(key, { payloads: true }), redact)
    }
    return { ...deed('payloads', target, run), reason }
  }
  const place = placeIn(fields)
  const id = fields.text('id')
  const target = letterTarget(place, id)
  const run = async (note: OperatorNote): Promise<unknown> => {
    await operator.recordLook(target, note)
    const which = { ...LOOK, id, limit: 1, payloads: true }
    const [letter] = await lookInTurn(backend, place, () => operator.letters.list(place, which))
    if (letter === undefined) throw new Problem(404, 'console.not_found', 'this letter is not among the first any more')
    return letterPayload(letter, place.channel, redact)
  }
  const also = { action: 'letters.look' as const, target: lettersTarget(place) }
  return { ...deed('payloads', target, run), also, reason }
}
