/** Lag and dead letters of groups: those of the log in the database, and known ones on a broker. */

import { TransportError } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { shellWord } from 'concordat/extension'
import type { DeadLetterAdmin, DeadLetterPlace } from '../dead-letter-types.ts'
import { schemasWith } from '../find-table-schemas.ts'
import { type GroupLine, groupsIn, isRestored, logSchemaOf, missingGroups } from '../group-lag.ts'
import { heldOf, type InstancesView } from '../instances.ts'
import { isThere, keyOf, nameOf } from '../letters.ts'
import { counted } from '../words.ts'
import { withError } from './check-context.ts'
import { type DoctorLine, fail, ok, orMore, unknown, warn } from './line.ts'
import { replyPlaces } from './reply-places.ts'

/** The groups, and the places to check. */
export interface ExaminedGroups {
  readonly sql: SqlClient
  readonly schema: string
  readonly letters: Pick<DeadLetterAdmin, 'count' | 'backlog' | 'besideLog'>
  /** Groups that are declared, or that instances report. */
  readonly places: readonly DeadLetterPlace[]
  /** Reports of instances over the bus; `undefined` without one. */
  readonly instances: InstancesView | undefined
  /** Whether the schema has tables of a service that sends or handles messages. */
  readonly hasMessages: boolean
  /** A broker was named. */
  readonly hasBroker: boolean
  readonly tables: ReadonlySet<string>
}

/** A working reader is never so far behind. */
const MANY = 10_000
const MAX_COUNTED_PLACES = 50
/** Number of groups checked at a time: each has a connection. */
const MAX_AT_ONCE = 8
/** Number of groups that a line without a problem names. */
const MAX_NAMED_PLACES = 5

export async function examineGroups(examined: ExaminedGroups): Promise<readonly DoctorLine[]> {
  const { sql, schema, hasMessages } = examined
  const log = await logSchemaOf(sql, schema)
  const rows = await groupsIn(sql, log)
  const others = await examined.letters.besideLog(rows, await knownPlaces(examined))
  if (others.length > 0 && (await isLogElsewhere(examined))) return [uncountedElsewhere(others.length)]
  const lines = log === undefined ? [] : [...(await ofRestored(sql, log)), ...linesOfLog(rows)]
  let mayHang = rows.some((row) => row.lag > 0 && row.readers > 0 && !isOfLetters(row))
  const looked = await examinePlaces(examined, others.slice(0, MAX_COUNTED_PLACES))
  lines.push(...looked.lines)
  mayHang ||= looked.mayHang
  if (others.length > MAX_COUNTED_PLACES)
    lines.push(unknown('groups', `${others.length - MAX_COUNTED_PLACES} more were not asked for`, 'npx concordat lag'))
  const isFine = lines.length === 0 && others.length > 0
  if (isFine) lines.push(fine(others))
  if (lines.length === 0 && hasMessages)
    lines.push(
      unknown(
        'groups',
        `${await withoutLog(sql)} and no group is known: lag and dead letters were not counted`,
        'npx concordat doctor concordat.config.ts, with a file that exports your services, and --kafka HOST:PORT or --rabbitmq URL',
      ),
    )
  if (isBlind(examined) && mayHang)
    lines.push(unknown('handlers', 'no instance reports over a bus: a handler that hangs is not seen', NO_BUS))
  return lines
}

/** Groups that the caller named, and the group that reads the replies to the sagas of this schema, unless it does not exist. */
async function knownPlaces(examined: ExaminedGroups): Promise<readonly DeadLetterPlace[]> {
  const { sql, schema, tables, places, letters } = examined
  // A role without rights to the log's tables gets a line of its own.
  const replies = await replyPlaces(sql, schema, tables).catch(() => [])
  const given = new Set(places.map(keyOf))
  const found: DeadLetterPlace[] = []
  for (const place of replies)
    if (!given.has(keyOf(place)) && (await isThere(letters, place)) !== false) found.push(place)
  return [...places, ...found]
}

async function withoutLog(sql: SqlClient): Promise<string> {
  const logs = await schemasWith(sql, 'transport_group')
  return logs.length === 0 ? 'no log is in this database' : 'no log of this database is open to this role'
}

/** Neither a log in this database nor a broker: known groups cannot be counted. */
async function isLogElsewhere({ sql, hasBroker }: ExaminedGroups): Promise<boolean> {
  return !hasBroker && (await schemasWith(sql, 'transport_group')).length === 0
}

function uncountedElsewhere(count: number): DoctorLine {
  return unknown(
    'groups',
    `no log is in this database: lag and dead letters of ${counted(count, 'group')} were not counted`,
    'where the log of postgresTransport is in another database: npx concordat lag --postgres URL, with its address; else give --kafka HOST:PORT or --rabbitmq URL',
  )
}

/** Groups of a broker are known by name only: no transport lists them. */
function fine(places: readonly DeadLetterPlace[]): DoctorLine {
  const more = places.length - MAX_NAMED_PLACES
  const names = places.slice(0, MAX_NAMED_PLACES).map(nameOf)
  if (more > 0) names.push(`and ${more} more`)
  const count = counted(places.length, 'known group')
  return ok(
    'groups',
    `${count}, none has dead letters or is far behind: ${names.join(', ')}. Other groups of the broker were not counted`,
  )
}

const NO_BUS =
  'where the services have a bus, npx concordat instances says whether it is reached; if it is signed, this needs $CONCORDAT_BUS_SECRET. Without one, give them a bus (option bus of createService), or look at health() of each instance and at the metric concordat_binding_slow'

function isBlind({ instances }: ExaminedGroups): boolean {
  return instances === undefined || instances.instances.length === 0
}

/** Groups of such a log look as if they had read everything. */
async function ofRestored(sql: SqlClient, log: string): Promise<readonly DoctorLine[]> {
  if (!(await isRestored(sql, log))) return []
  const remedy = 'stop every process that uses it and call postgresTransport({ sql }).repair() once'
  return [fail('log', `the log in schema "${log}" comes from another cluster (a dump was restored)`, remedy)]
}

function linesOfLog(rows: readonly GroupLine[]): readonly DoctorLine[] {
  const missing = missingGroups(rows)
  const cut = missing === undefined ? [] : [unknown('groups', missing, 'npx concordat lag CHANNEL GROUP')]
  return [...lettersOf(rows), ...readersOf(rows), ...cut]
}

interface LookedAt {
  readonly lines: readonly DoctorLine[]
  /** Messages wait, or a handler may hold them. */
  readonly mayHang: boolean
  /** The transport did not answer. */
  readonly isSilent?: boolean | undefined
}

/** Stops after a group for which the transport did not answer: each further one would take the whole time limit. */
async function examinePlaces(examined: ExaminedGroups, places: readonly DeadLetterPlace[]): Promise<LookedAt> {
  const found: Array<LookedAt | undefined> = places.map(() => undefined)
  let next = 0
  let isSilent = false
  const lookAtSome = async (): Promise<void> => {
    while (next < places.length && !isSilent) {
      const n = next++
      const looked = await examinePlace(examined, places[n] as DeadLetterPlace)
      found[n] = looked
      isSilent ||= looked.isSilent === true
    }
  }
  await Promise.all(Array.from({ length: MAX_AT_ONCE }, lookAtSome))
  const lines = found.flatMap((looked) => looked?.lines ?? [])
  const left = found.filter((looked) => looked === undefined).length
  const unasked = `${left} more were not asked for, since the transport does not answer`
  if (left > 0) lines.push(unknown('groups', unasked, 'npx concordat lag'))
  return { lines, mayHang: found.some((looked) => looked?.mayHang === true) }
}

/** The group is on a broker, or in the log that a module declares. */
async function examinePlace(examined: ExaminedGroups, place: DeadLetterPlace): Promise<LookedAt> {
  const { letters, instances } = examined
  const name = `${place.channel}.${place.group}`
  const command = `${shellWord(place.channel)} ${shellWord(place.group)}`
  try {
    const backlog = await letters.backlog(place)
    if (backlog.uncommitted !== undefined) {
      const text = nothingCommitted(place, backlog.uncommitted, backlog.lag)
      const line = unknown('groups', text, 'start its service, if it never ran; else see the groupIds of its transport')
      return { lines: [line], mayHang: false }
    }
    const dead = await letters.count(place)
    const held = instances === undefined ? null : heldOf(instances, place)
    const lag = backlog.lag + (backlog.isReadyOnly ? (held ?? 0) : 0)
    const lines: DoctorLine[] = []
    if (dead === undefined)
      lines.push(unknown('letters', `${name}: ${LETTERS_HELD}`, `npx concordat lag ${command}, once that has ended`))
    else if (dead > 0)
      lines.push(warn('letters', `${counted(dead, 'dead letter')} of ${name}`, `npx concordat dlq list ${command}`))
    if (lag > MANY)
      lines.push(
        warn(
          'groups',
          `${name} is ${lag} behind`,
          'add instances, or look for a slow handler: npx concordat instances',
        ),
      )
    if (held === null && !isBlind(examined)) lines.push(...unread(name, lag, backlog.isReadyOnly))
    return { lines, mayHang: lag > 0 || backlog.isReadyOnly }
  } catch (error) {
    const line = unknown('groups', `${name} was not counted`, `npx concordat lag ${command}`)
    const isSilent = error instanceof TransportError && error.kind === 'timeout'
    return { lines: [withError(line, error)], mayHang: false, isSilent }
  }
}

/** Why dead letters are not counted. */
export const LETTERS_HELD =
  'its dead letters are being read (a redrive, or a look), and RabbitMQ does not count those that a reader holds'

/** A wrong name looks like a group that never began. */
export function nothingCommitted({ channel }: DeadLetterPlace, name: string, lag: number): string {
  return `the group ${name} has committed nothing on ${channel} (${counted(lag, 'message')}). Where the service uses groupIds, export them from concordat.config.ts`
}

/** Other instances report. */
function unread(name: string, lag: number, isReadyOnly: boolean): readonly DoctorLine[] {
  const remedy =
    'start its service; if it runs, its process is blocked or frozen, or has no bus: npx concordat instances'
  if (lag > 0)
    return [warn('groups', `${name} has ${counted(lag, 'message')}, and no instance that reports reads it`, remedy)]
  if (!isReadyOnly) return []
  const text = `${name}: no instance that reports reads it, and RabbitMQ does not count what consumers hold`
  return [unknown('groups', text, remedy)]
}

/** Dead letters wait for a person by design; this line reports them. */
function lettersOf(rows: readonly GroupLine[]): readonly DoctorLine[] {
  return rows.filter(isOfLetters).flatMap(({ channel: letters, lag, isCut }) => {
    if (lag === 0) return []
    const name = letters.slice(0, -'.dlq'.length)
    const dot = name.lastIndexOf('.')
    const { channel, group } = rows.find((row) => nameOf(row) === name) ?? {
      channel: name.slice(0, dot),
      group: name.slice(dot + 1),
    }
    const list = `npx concordat dlq list ${shellWord(channel)} ${shellWord(group)}`
    const dead = isCut ? `${orMore(lag, true)} dead letters` : counted(lag, 'dead letter')
    return [warn('letters', `${dead} of ${name}`, list)]
  })
}

function readersOf(rows: readonly GroupLine[]): readonly DoctorLine[] {
  const read = rows.filter((row) => !isOfLetters(row))
  const behind = read.filter(isBehind)
  if (behind.length === 0) return [ok('groups', `${counted(read.length, 'group')}, none is behind`)]
  return behind.map(({ channel, group, lag, isCut, readers }) =>
    readers === 0
      ? warn(
          'groups',
          `${channel}.${group} is ${orMore(lag, isCut)} behind, and no instance reads it`,
          'start its service; if it is gone for good, the page on PostgreSQL says how its group is forgotten (forgetGroup)',
        )
      : warn(
          'groups',
          `${channel}.${group} is ${orMore(lag, isCut)} behind with ${readers} readers`,
          'add instances, or look for a slow handler',
        ),
  )
}

function isOfLetters({ channel, group }: GroupLine): boolean {
  return group === 'redrive' && channel.endsWith('.dlq')
}

function isBehind({ lag, readers }: GroupLine): boolean {
  return readers === 0 ? lag > 0 : lag > MANY
}
