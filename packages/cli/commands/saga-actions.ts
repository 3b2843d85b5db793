/** `saga retry`, `skip`, `compensate`, `cancel`, `resolve`: for one saga by its id, or for all that match. */

import type { SagaActionResult } from '../engine-types.ts'
import type { SagaBulk } from '../sagas/saga-action-options.ts'
import { counted } from '../words.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type Invocation,
  type OptionSpecs,
  type Outcome,
  UsageError,
} from './command.ts'
import { printable, table } from './output.ts'
import { FILTER_OPTIONS, filterOf, isPicked, targetOf } from './saga-filter.ts'
import { durationMs, flag, none, note, text, whole } from './values.ts'

type Action = SagaBulk['action']

interface Facts {
  readonly summary: string
  readonly options?: OptionSpecs | undefined
  readonly examples: readonly string[]
  /** Question for a single saga; absent: no confirmation. */
  readonly asks?: string | undefined
}

const ACTIONS: Readonly<Record<Action, Facts>> = {
  retry: {
    summary: 'calls the step again on which a saga is stuck',
    examples: [
      'npx concordat saga retry buy/o-1 --reason "the bank is open again"',
      'npx concordat saga retry --saga buy --code bank.closed --limit 50 --reason "the bank is open again" --dry-run',
    ],
  },
  skip: {
    summary: 'takes the step as done, or as undone, without a call, and goes on',
    options: { result: { type: 'string', hint: 'JSON', about: 'what the step shall have returned' } },
    asks: 'The step will be taken as done (or undone) without a call.',
    examples: ['npx concordat saga skip buy/o-2 --reason "paid in cash" --yes'],
  },
  compensate: {
    summary: 'stuck on the pivot only: it did not happen, undoes what came before',
    asks: 'What came before the pivot will be undone.',
    examples: ['npx concordat saga compensate rent/r-1 --reason "the bank says it never came" --yes'],
  },
  cancel: {
    summary: 'turns a running saga back: what was done is undone',
    asks: 'What was done will be undone.',
    examples: ['npx concordat saga cancel wait/w-1 --reason "the customer rang up" --yes'],
  },
  resolve: {
    summary: 'ends a stuck saga: the rest was settled by hand',
    options: { outcome: { type: 'string', hint: 'OUTCOME', about: 'completed or compensated (required)' } },
    asks: 'The saga will end, and no step of it will be called any more.',
    examples: ['npx concordat saga resolve buy/o-3 --outcome completed --reason "refunded by hand" --yes'],
  },
}

export const SAGA_ACTION_COMMANDS: readonly Command[] = (Object.keys(ACTIONS) as Action[]).map(commandOf)

function commandOf(action: Action): Command {
  const { summary, options = {}, examples } = ACTIONS[action]
  return {
    name: `saga ${action}`,
    summary,
    takes: 'SAGA/ID | filter options',
    options: {
      ...options,
      ...FILTER_OPTIONS,
      limit: { type: 'string', hint: 'N', about: 'of those that fit, at most so many (default: 100)' },
      'dry-run': { type: 'boolean', about: 'shows what it would do, and changes nothing' },
      ...(action !== 'resolve' && {
        wait: { type: 'string', hint: '5s', about: 'how long for an instance to do it (default: 5s)' },
      }),
      ...DATABASE_OPTIONS,
      ...ACTION_OPTIONS,
    },
    examples,
    run: (invocation) => {
      const isBulk = isPicked(invocation.values)
      if (isBulk) none(invocation.positionals)
      return isBulk ? onMany(action, invocation) : onOne(action, invocation)
    },
  }
}

async function onOne(action: Action, invocation: Invocation): Promise<Outcome> {
  const { values, operator, confirm } = invocation
  const target = targetOf(invocation.positionals, 'SAGA/ID, or options that pick sagas such as --saga NAME')
  const who = { ...note(invocation), ...waitOf(invocation) }
  const outcome = action === 'resolve' ? outcomeOf(invocation) : undefined
  const result = resultOf(invocation)
  const { sagas } = await operator()
  const { status, failure, steps, timesStuck } = await sagas.show(target)
  // The plan shows this step, and the operator confirms it.
  const step = steps.find(({ wait }) => wait === 'operator')?.step
  const why = failure === null ? '' : ` (${failure.code}: ${failure.message})`
  const plan = printable(
    `${target.saga}/${target.id} is ${status}${step === undefined ? '' : ` on ${step}`}${why}. ${ACTIONS[action].asks ?? ''}`,
  )
  if (flag(values, 'dry-run')) {
    return {
      text: `would ${action}: ${plan}\n`,
      json: { dryRun: true, more: false, results: [{ ...target, status, action, outcome: 'would' }] },
    }
  }
  if (ACTIONS[action].asks !== undefined && !(await confirm(plan, `${action}?`))) return nothing()
  const seen = { step, timesStuck }
  const done =
    action === 'resolve'
      ? await sagas.resolve(target, { by: who.by, reason: who.reason, outcome: outcome ?? 'completed', ...seen })
      : action === 'skip'
        ? await sagas.skip(target, { ...who, ...seen, ...(result !== undefined && { result }) })
        : action === 'cancel'
          ? await sagas.cancel(target, who)
          : await sagas[action](target, { ...who, ...seen })
  return report([done], false)
}

async function onMany(action: Action, invocation: Invocation): Promise<Outcome> {
  const { values, operator, confirm } = invocation
  if (values['result'] !== undefined) throw new UsageError('--result is for one saga: name it as SAGA/ID')
  const outcome = action === 'resolve' ? outcomeOf(invocation) : undefined
  const limit = whole(values, 'limit')
  const order: SagaBulk = {
    ...note(invocation),
    ...waitOf(invocation),
    action,
    filter: filterOf(values),
    limit,
    outcome,
  }
  const { sagas } = await operator()
  const { chosen, ...dry } = await sagas.bulk(order)
  if (flag(values, 'dry-run'))
    return { text: `${lines(dry.results)}\n${count(dry.results.length, dry.more)}\n`, json: dry }
  if (dry.results.length === 0) return { text: 'No saga fits.\n', json: { ...dry, dryRun: false } }
  if (!(await confirm(`${lines(dry.results)}\n${count(dry.results.length, dry.more)}`, `${action} them?`)))
    return nothing()
  // Only the sagas shown, in the state shown.
  const { results } = await sagas.bulk({ ...order, among: chosen, dryRun: false })
  return report(results, dry.more, dry.results.length - results.length)
}

function waitOf({ values }: Invocation): { readonly waitMs?: number } {
  const waitMs = durationMs(values, 'wait')
  return waitMs === undefined ? {} : { waitMs }
}

/** @throws UsageError */
function outcomeOf({ values }: Invocation): 'completed' | 'compensated' {
  const outcome = text(values, 'outcome')
  if (outcome === 'completed' || outcome === 'compensated') return outcome
  throw new UsageError('this needs --outcome completed or --outcome compensated')
}

/** @throws UsageError */
function resultOf({ values }: Invocation): unknown {
  const given = text(values, 'result')
  if (given === undefined) return undefined
  try {
    return JSON.parse(given)
  } catch {
    throw new UsageError('--result: expected JSON, such as \'{"paid":5}\'')
  }
}

function nothing(): Outcome {
  return { text: 'Nothing was changed.\n', json: { dryRun: false, more: false, results: [] }, code: 1 }
}

/**
 * @param gone how many of the shown sagas no longer matched
 */
function report(results: readonly SagaActionResult[], more: boolean, gone = 0): Outcome {
  const json = { dryRun: false, more, results }
  const waiting = results.some(({ outcome }) => outcome === 'waiting')
  const hint = waiting ? 'Those that wait are done by the next instance that runs their version.\n' : ''
  const code = results.some(({ outcome }) => outcome === 'refused') ? 1 : 0
  const left = gone === 0 ? '' : `${counted(gone, 'saga')} no longer fitted: nothing was done there.\n`
  return { text: `${lines(results)}\n${more ? `${count(results.length, more)}\n` : ''}${left}${hint}`, json, code }
}

function lines(results: readonly SagaActionResult[]): string {
  return table(
    ['SAGA/ID', 'ACTION', 'OUTCOME', 'STATUS', 'WHY'],
    results.map(({ saga, id, action, outcome, status, why }) => [`${saga}/${id}`, action, outcome, status, why ?? '-']),
  )
}

function count(n: number, more: boolean): string {
  return `${counted(n, 'saga')}${more ? ', more may fit: raise --limit' : ''}`
}
