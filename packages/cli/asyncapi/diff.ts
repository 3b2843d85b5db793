/**
 * The effect of a changed document on readers. Messages outlive a deployment: they stay in topics and queues, and services are
 * not all replaced at the same moment. So both directions are checked: readers of the old document receive new messages, readers
 * of the new one receive old messages.
 */
import { invalidOption, isDeeperThan, wrongKind } from 'concordat/extension'
import type { JsonObject } from './document-types.ts'
import { narrowings, type Resolve, type Sided } from './schema-narrowing.ts'
import { show } from './shorten-json.ts'

/** A difference between two documents. */
export interface AsyncapiChange {
  readonly kind:
    | 'channel-added'
    | 'channel-removed'
    | 'address'
    | 'partitions'
    | 'key'
    | 'content-type'
    | 'version'
    | 'message-added'
    | 'message-removed'
    | 'payload'
    | 'headers'
    | 'senders'
    | 'readers'
  /**
   * Readers that the change breaks. `old readers`: those of the old document, with messages sent afterwards; deploy readers
   * first. `new readers`: those of the new document, with messages sent before. `no`: none.
   */
  readonly breaks: 'no' | 'old readers' | 'new readers' | 'all readers'
  readonly channel: string
  /** In the payload or the headers: `lines[].sku`. */
  readonly path: string
  readonly text: string
}

/** Result of `asyncapiDiff`. */
export interface AsyncapiDiff {
  /** True if a change breaks readers. */
  readonly breaks: boolean
  readonly changes: readonly AsyncapiChange[]
}

type Change = Omit<AsyncapiChange, 'channel' | 'path'> & { readonly path?: string }

/**
 * Compares two AsyncAPI 3 documents, including those of other tools. Channels are compared by their address, payloads by their
 * JSON Schema: a new optional property breaks no reader.
 * @throws TypeError for anything but an AsyncAPI 3 document
 */
export function asyncapiDiff(before: unknown, after: unknown): AsyncapiDiff {
  const [old, now] = [readDocument('asyncapiDiff before', before), readDocument('asyncapiDiff after', after)]
  const names = [...new Set([...old.channels.keys(), ...now.channels.keys()])].toSorted()
  const changes = names.flatMap((name) =>
    channelChanges(name, old, now).map((change) => ({ path: '', ...change, channel: name })),
  )
  return { breaks: changes.some((change) => change.breaks !== 'no'), changes }
}

interface Read {
  readonly resolve: Resolve
  /** By address, otherwise by key. */
  readonly channels: ReadonlyMap<string, { readonly key: string; readonly channel: JsonObject }>
  readonly operations: readonly JsonObject[]
}

const object = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null ? (value as JsonObject) : {}

/** Limit for the recursive comparison. */
const MOST_LEVELS = 200

function readDocument(path: string, given: unknown): Read {
  const { asyncapi, channels, operations } = object(given)
  if (typeof given !== 'object' || given === null) throw wrongKind(path, given, 'an AsyncAPI 3 document')
  if (typeof asyncapi !== 'string' || !asyncapi.startsWith('3.'))
    throw invalidOption(`${path}.asyncapi`, asyncapi, 'a document of AsyncAPI 3, such as "3.0.0"')
  if (isDeeperThan(given, MOST_LEVELS)) throw wrongKind(path, given, `a document of at most ${MOST_LEVELS} levels`)
  const resolve: Resolve = (ref) =>
    ref
      .slice(2)
      .split('/')
      .reduce<unknown>((at, part) => own(object(at), decoded(part).replaceAll('~1', '/').replaceAll('~0', '~')), given)
  const entries = Object.entries(object(channels)).map(([key, each]) => {
    const channel = followed(each, resolve)
    const { address } = channel
    return [typeof address === 'string' ? address : key, { key, channel }] as const
  })
  return { resolve, channels: new Map(entries), operations: Object.values(object(operations)).map(object) }
}

function own(at: JsonObject, name: string): unknown {
  return Object.hasOwn(at, name) ? at[name] : undefined
}

/** Invalid percent-encoding is taken literally. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function followed(value: unknown, resolve: Resolve): JsonObject {
  const { $ref } = object(value)
  return typeof $ref === 'string' ? object(resolve($ref)) : object(value)
}

function channelChanges(name: string, old: Read, now: Read): readonly Change[] {
  const [before, after] = [old.channels.get(name), now.channels.get(name)]
  if (before === undefined) return [{ kind: 'channel-added', breaks: 'no', text: 'the channel is new' }]
  if (after === undefined) {
    return [{ kind: 'channel-removed', breaks: 'all readers', text: 'the channel is gone: it has no senders' }]
  }
  return [
    ...placeChanges(before.channel, after.channel),
    ...userChanges(usersOf(old, before.key), usersOf(now, after.key)),
    ...messagesChanges([before.channel, old.resolve], [after.channel, now.resolve]),
  ]
}

function placeChanges(before: JsonObject, after: JsonObject): readonly Change[] {
  const facts = (channel: JsonObject): JsonObject => ({
    ...object(object(channel['bindings'])['kafka']),
    ...object(channel['x-concordat']),
  })
  const [a, b] = [facts(before), facts(after)]
  const changes: Change[] = []
  if (a['partitions'] !== undefined && b['partitions'] !== undefined && a['partitions'] !== b['partitions']) {
    const text = `partitions: ${show(b['partitions'])}, and there were ${show(a['partitions'])}: a key moves, its order is lost`
    changes.push({ kind: 'partitions', breaks: 'all readers', text })
  }
  if (a['keyed'] === true && b['keyed'] === false) {
    changes.push({ kind: 'key', breaks: 'all readers', text: 'messages have no key any more: no order' })
  }
  return [...changes, ...versionChanges(a, b)]
}

function versionChanges(a: JsonObject, b: JsonObject): readonly Change[] {
  const [before = 1, after = 1] = [a['version'], b['version']]
  if (before === after) return []
  const reads = Array.isArray(b['reads']) ? b['reads'] : [after]
  const text = `payloads are of version ${show(after)}, and were of ${show(before)}`
  const old: Change = {
    kind: 'version',
    breaks: 'old readers',
    text: `${text}: old readers take them for dead letters`,
  }
  if (reads.includes(before)) return [old]
  const lost = `${text}: new readers have no upcast for the old ones`
  return [old, { kind: 'version', breaks: 'new readers', text: lost }]
}

interface Users {
  readonly senders: ReadonlySet<string>
  readonly readers: ReadonlySet<string>
}

/** By service, if the document names it; otherwise each side has one. */
function usersOf({ operations, resolve }: Read, key: string): Users {
  const own = operations.filter(
    ({ channel }) => object(channel)['$ref'] === `#/channels/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`,
  )
  const of = (action: string): ReadonlySet<string> =>
    new Set(
      own
        .filter((each) => followed(each, resolve)['action'] === action)
        .map((each) => {
          const { service = 'somebody', group } = object(each['x-concordat'])
          return `${textOf(service)}${typeof group === 'string' ? ` (group ${group})` : ''}`
        }),
    )
  return { senders: of('send'), readers: of('receive') }
}

function userChanges(before: Users, after: Users): readonly Change[] {
  const gone = [...before.senders].filter((name) => !after.senders.has(name))
  const isSilent = before.senders.size > 0 && after.senders.size === 0 && after.readers.size > 0
  const left = [...before.readers].filter((name) => !after.readers.has(name))
  const added = [...after.readers].filter((name) => !before.readers.has(name))
  return [
    ...gone.map(
      (name): Change => ({
        kind: 'senders',
        breaks: isSilent ? 'all readers' : 'no',
        text: `${name} does not send to it any more${isSilent ? ', and it has no other sender' : ''}`,
      }),
    ),
    ...left.map((name): Change => ({ kind: 'readers', breaks: 'no', text: `${name} does not read it any more` })),
    ...added.map((name): Change => ({ kind: 'readers', breaks: 'no', text: `${name} reads it` })),
  ]
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : show(value))

type Side = readonly [JsonObject, Resolve]

function messagesChanges([before, oldRef]: Side, [after, newRef]: Side): readonly Change[] {
  const [old, now] = [object(before['messages']), object(after['messages'])]
  const lost = Object.keys(old).filter((name) => !Object.hasOwn(now, name))
  const found = Object.keys(now).filter((name) => !Object.hasOwn(old, name))
  const upcasts = readsOlder(before, after)
  return [
    ...lost.map(
      (name): Change => ({ kind: 'message-removed', breaks: 'all readers', text: `the message ${name} is gone` }),
    ),
    ...found.map(
      (name): Change => ({
        kind: 'message-added',
        breaks: 'old readers',
        text: `the message ${name} is new: old readers do not know it`,
      }),
    ),
    ...Object.keys(old)
      .filter((name) => Object.hasOwn(now, name))
      .flatMap((name) =>
        messageChanges([followed(old[name], oldRef), oldRef], [followed(now[name], newRef), newRef], upcasts),
      ),
  ]
}

/** New readers convert older payload versions, so their schema need not match. */
function readsOlder(before: JsonObject, after: JsonObject): boolean {
  const [{ version: old = 1 }, { version: now = 1, reads }] = [
    object(before['x-concordat']),
    object(after['x-concordat']),
  ]
  return old !== now && Array.isArray(reads) && reads.includes(old)
}

function messageChanges([before, oldRef]: Side, [after, newRef]: Side, upcasts: boolean): readonly Change[] {
  const [was, is] = [before['contentType'], after['contentType']]
  const type: readonly Change[] =
    was === is ? [] : [{ kind: 'content-type', breaks: 'all readers', text: `${textOf(is)}, and was ${textOf(was)}` }]
  const schemas = (part: 'payload' | 'headers'): readonly Change[] => {
    const old: Sided = { schema: schemaOf(before[part]), resolve: oldRef }
    const now: Sided = { schema: schemaOf(after[part]), resolve: newRef }
    const late = narrowings(now, old).map((each): Change => ({ kind: part, breaks: 'old readers', ...each }))
    const early = narrowings(old, now).map((each): Change => ({ kind: part, breaks: 'new readers', ...each }))
    return part === 'payload' && upcasts ? late : [...early, ...late]
  }
  return [...type, ...schemas('payload'), ...schemas('headers')]
}

/** AsyncAPI allows a schema of another format in `schema`. */
function schemaOf(given: unknown): unknown {
  if (given === undefined) return true
  const { schemaFormat, schema } = object(given)
  return schemaFormat === undefined ? given : schema
}
