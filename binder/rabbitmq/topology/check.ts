/**
 * `provision: 'check'`: compares the declarations with what exists, and creates nothing.
 *
 * Each question has its own channel, because a negative reply closes it. Existence is checked passively first, which needs no
 * rights. Only then is the object declared again on the same channel, which compares type and arguments: if the first check
 * fails, the second is never sent. A user without the right to configure it only learns that it exists.
 *
 * Bindings cannot be queried in AMQP: binding again creates missing ones, and a test message would reach the queue if all is
 * well. A missing binding shows as `unroutable`; in the delay ladder as a delay that is too short, or never ends.
 */
import { counted } from '../../../core/counted-noun.ts'
import { toError } from '../../../core/errors.ts'
import type { DestinationSpec } from '../../transport/transport.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { failure, replyCodeOf } from '../transport-errors.ts'
import { type Ask, type Declaration, declareUnbound, look, nameOf } from './declare.ts'
import type { DelayLadder } from './delay-ladder.ts'
import { exchangeOf } from './foreign-places.ts'
import { declarationsOf, existingCount, marksOf, mismatchOf } from './provision.ts'
import { markerOf } from './topology-names.ts'

/** Number of simultaneous questions, each on its own channel: the ladder alone has 52. */
const AT_ONCE = 8

/** @throws TransportError `mismatch` with everything that is missing or different */
export async function checkDestinations(
  specs: readonly DestinationSpec[],
  options: Pick<ResolvedRabbitOptions, 'queueArguments' | 'places'>,
  ladder: DelayLadder,
  ask: Ask,
): Promise<void> {
  const faults = await faultsOf(
    specs.flatMap((spec) => questionsOf(spec, options, ladder).map((question) => ({ ...question, of: spec.name }))),
    ask,
  )
  if (specs.some(({ delays }) => delays === true)) faults.push(...(await ladderFaults(ladder, ask)))
  if (faults.length === 0) return
  const counted = faults.find(({ existing }) => existing !== undefined)
  const spec = specs.find(({ name }) => name === counted?.of)
  // Queues are named by their partitions, so those of another number are also missing.
  if (spec !== undefined && counted?.existing !== undefined && faults.every(({ of }) => of === spec.name))
    throw mismatchOf(spec, counted.existing)
  const said = faults.map(({ what, is }) => `${what} ${is}`).join('; ')
  const differs = faults.some(({ is }) => is !== MISSING)
  throw failure(
    'mismatch',
    `${said}. Make them as binder.describe() says, or use rabbitTransport({ provision: 'create' })` +
      `${differs ? '; what differs has to be deleted first, once it is drained' : ''}.`,
    { destination: specs.length === 1 ? specs[0]?.name : undefined },
  )
}

interface Question {
  readonly declaration: Declaration
  /** Only checks whether it exists. */
  readonly asFound?: boolean
  /** The destination. @default objects shared by all */
  readonly of?: string
}

interface Fault {
  readonly what: string
  readonly is: string
  readonly of?: string | undefined
  /** The number of partitions that the broker knows, if another number is declared. */
  readonly existing?: number | undefined
}

const MISSING = 'is missing'

function questionsOf(
  spec: DestinationSpec,
  options: Pick<ResolvedRabbitOptions, 'queueArguments' | 'places'>,
  ladder: DelayLadder,
): readonly Question[] {
  const marks = spec.asFound === true ? [] : marksOf(spec, options)
  const own = [...declarationsOf(spec, options), ...marks].map((declaration) => ({
    declaration,
    asFound:
      declaration.kind === 'queue'
        ? spec.asFound === true
        : spec.assumed === true && declaration.name === markerOf(spec.name),
  }))
  if (spec.delays !== true) return own
  return [
    ...own,
    { declaration: ladder.dueDeclaration(spec.name, exchangeOf(spec.name, options.places)) },
    { declaration: ladder.dueSettled(spec.name) },
  ]
}

/** Reports one fault instead of 52 if the ladder does not exist. */
async function ladderFaults(ladder: DelayLadder, ask: Ask): Promise<readonly Fault[]> {
  const questions = [...ladder.declarations(), ladder.settled].map((declaration) => ({ declaration }))
  const faults = await faultsOf(questions, ask)
  if (faults.length < questions.length || faults.some(({ is }) => is !== MISSING)) return faults
  return [{ what: `what delays messages, ${questions.length} exchanges and queues "${ladder.prefix}:*",`, is: MISSING }]
}

/** In the order of the questions. @throws if the broker does not reply */
async function faultsOf(questions: readonly Question[], ask: Ask): Promise<Fault[]> {
  const faults: Array<Fault | undefined> = []
  for (let at = 0; at < questions.length; at += AT_ONCE) {
    const some = questions.slice(at, at + AT_ONCE).map((question) => faultOf(question, ask))
    faults.push(...(await Promise.all(some)))
  }
  return faults.filter((fault) => fault !== undefined)
}

async function faultOf({ declaration, asFound, of }: Question, ask: Ask): Promise<Fault | undefined> {
  const what = nameOf(declaration)
  try {
    await ask(`compare ${what}`, async (channel) => {
      await look(channel, declaration)
      if (asFound !== true) await declareUnbound(channel, declaration)
    })
    return undefined
  } catch (error) {
    const cause = toError(error).cause ?? error
    switch (replyCodeOf(cause)) {
      case 404:
        return { what, is: MISSING, of }
      case 403:
        return undefined
      case 405:
        return { what, is: 'belongs to one connection alone (exclusive)', of }
      case 406:
        return { what, is: differenceIn(cause), of, existing: existingCount(cause) }
      default:
        throw error
    }
  }
}

/** `inequivalent arg 'x-queue-type' for queue ... received 'quorum' but current is 'classic'`. */
function differenceIn(cause: unknown): string {
  const existing = existingCount(cause)
  if (existing !== undefined) return `says ${counted(existing, 'partition')}, another number is declared`
  const { message } = toError(cause)
  return `differs: ${/PRECONDITION_FAILED - (.*?)"?$/.exec(message)?.[1] ?? message}`
}
