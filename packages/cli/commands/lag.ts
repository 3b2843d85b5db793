/** The `lag` command: how many messages groups have not settled, and their dead letters. */
import { toError } from 'concordat/extension'
import type { DeadLetterPlace } from '../dead-letter-types.ts'
import { LETTERS_HELD, nothingCommitted } from '../doctor/groups.ts'
import { orMore } from '../doctor/line.ts'
import { type GroupLine, missingGroups } from '../group-lag.ts'
import { heldOf, type InstancesView } from '../instances.ts'
import type { Operator } from '../operator.ts'
import { type Command, type Outcome, WATCH_OPTION } from './command.ts'
import { instancesOn, knownPlaces, namesBroker, PLACE_OPTIONS, placeOf } from './group-arguments.ts'
import { printable, table } from './output.ts'
import { MODULE } from './read-declarations.ts'

const lag: Command = {
  name: 'lag',
  summary: 'shows how many messages a group has not settled, and its dead letters; without a group all that are known',
  takes: `[CHANNEL GROUP | ${MODULE}]`,
  options: { ...PLACE_OPTIONS, ...WATCH_OPTION },
  examples: ['npx concordat lag', 'npx concordat lag orders.placed stock --json'],
  async run(invocation): Promise<Outcome> {
    const { positionals } = invocation
    const operator = await invocation.operator({ module: positionals.length === 1 ? positionals[0] : undefined })
    if (positionals.length > 1) {
      const place = placeOf(invocation)
      const log = namesBroker(invocation) ? [] : await operator.groups()
      const readers = log.find((line) => isOf(line, place))?.readers ?? null
      const counted = { ...(await countPlace(operator, place)), readers }
      return lagText(counted.isReadyOnly ? withHeld(await instancesOn(operator), [counted]) : [counted], [])
    }
    const instances = namesBroker(invocation) ? await instancesOn(operator) : undefined
    const [groups, known] = [await operator.groups(), await knownPlaces(operator, positionals[0], instances)]
    const places = await operator.letters.besideLog(groups, known)
    const others: CountedPlace[] = []
    for (const place of places) others.push(await countPlace(operator, place).catch((error) => uncounted(place, error)))
    const isReadyOnly = others.some((each) => each.isReadyOnly)
    return lagText(isReadyOnly ? withHeld(instances ?? (await instancesOn(operator)), others) : others, groups)
  },
}

interface CountedPlace {
  readonly channel: string
  readonly group: string
  /** `null`: not known. */
  readonly lag: number | null
  readonly letters: number | null
  /** Counting stopped at this number: there are more. */
  readonly isCut?: boolean | undefined
  readonly isLettersCut?: boolean | undefined
  /** The broker's count excludes messages that consumers hold. */
  readonly isReadyOnly?: boolean | undefined
  /** Part of the lag that instances hold, as they report; `null`: unknown. */
  readonly held?: number | null | undefined
  /**
   * Number of processes that read the group. Only the log in the database knows it, so `null` on a broker does not change the
   * exit code.
   */
  readonly readers: number | null
  readonly problem?: string | undefined
}

const isOf = (line: GroupLine, place: DeadLetterPlace): boolean =>
  line.channel === place.channel && line.group === place.group

async function countPlace({ letters }: Operator, place: DeadLetterPlace): Promise<CountedPlace> {
  const { channel, group } = place
  const { lag, isReadyOnly, uncommitted } = await letters.backlog(place)
  if (uncommitted !== undefined) {
    const known = await letters.count(place).catch(() => null)
    const problem = nothingCommitted(place, uncommitted, lag)
    return { channel, group, lag: null, letters: known ?? null, readers: null, problem }
  }
  const dead = await letters.count(place)
  const known = { channel, group, lag, letters: dead ?? null, readers: null }
  const counts = { ...known, ...(isReadyOnly && { isReadyOnly, held: null }) }
  return dead === undefined ? { ...counts, problem: LETTERS_HELD } : counts
}

/** Adds the messages that instances report as held to the broker's count. */
function withHeld(view: InstancesView | undefined, places: readonly CountedPlace[]): readonly CountedPlace[] {
  if (view === undefined || view.instances.length === 0) return places
  return places.map((place) => {
    if (place.isReadyOnly !== true || place.lag === null) return place
    const held = heldOf(view, place)
    return { ...place, lag: place.lag + (held ?? 0), held }
  })
}

const READY_ONLY =
  'LAG has only what is ready: RabbitMQ does not count what consumers hold, and no instance that reads the group reports it over a bus. Ask for it: npx concordat instances\n'

function uncounted({ channel, group }: DeadLetterPlace, error: unknown): CountedPlace {
  return { channel, group, lag: null, letters: null, readers: null, problem: toError(error).message }
}

/**
 * The log in the database counts the dead letters of a group as the lag of another group: `redrive` of `<channel>.<group>.dlq`. That lag
 * becomes the column DEAD LETTERS of the first group's line, not a line of its own.
 */
function lagText(others: readonly CountedPlace[], log: readonly GroupLine[]): Outcome {
  const missing = missingGroups(log)
  // The group of its dead letters may be among those that were not read.
  const withoutLetters = missing === undefined ? 0 : null
  const placeIn = ({ isCut, ...line }: GroupLine): CountedPlace => {
    const { channel, group } = line
    const ofLetters = log.find((each) => each.channel === `${channel}.${group}.dlq` && each.group === 'redrive')
    return {
      ...line,
      letters: ofLetters?.lag ?? withoutLetters,
      ...(isCut && { isCut }),
      ...(ofLetters?.isCut === true && { isLettersCut: true }),
    }
  }
  const inLog = log.filter(({ channel, group }) => !(group === 'redrive' && channel.endsWith('.dlq'))).map(placeIn)
  const groups = [...inLog, ...others]
  if (groups.length === 0) {
    const text =
      'unknown: no log that this role may read has a group, and no other group is known. Name one (CHANNEL GROUP), or give a file that exports your services.\n'
    return { text, json: { groups }, code: 1 }
  }
  const known = (count: number | null, isCut = false): string => (count === null ? 'unknown' : orMore(count, isCut))
  const rows = groups.map((each) => [
    each.channel,
    each.group,
    known(each.lag, each.isCut),
    known(each.letters, each.isLettersCut),
    known(each.readers),
  ])
  const said = table(['CHANNEL', 'GROUP', 'LAG', 'DEAD LETTERS', 'READERS'], rows)
  const problems = groups.flatMap(({ channel, group, problem }) =>
    problem === undefined ? [] : [`${channel} ${group}: ${printable(problem)}\n`],
  )
  if (missing !== undefined) problems.push(`${missing}. Count one: npx concordat lag CHANNEL GROUP\n`)
  const isPartial = groups.some(({ held }) => held === null)
  const isWhole = !isPartial && problems.length === 0
  return {
    text: `${said}\n${isPartial ? READY_ONLY : ''}${problems.join('')}`,
    json: { groups, problem: missing },
    code: isWhole ? 0 : 1,
  }
}

export const LAG_COMMANDS: readonly Command[] = [lag]
