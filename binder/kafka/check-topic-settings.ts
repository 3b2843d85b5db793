/** Detects settings under which a topic deletes dead letters, delayed messages or retries before they are read. */
import type { Logger } from '../../core/logger.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { Admin } from './driver.ts'
import { transportError } from './errors.ts'
import { isDelayTopic } from './wire/delay-topic.ts'

type Configs = ReadonlyMap<string, Readonly<Record<string, string>>>

/**
 * Checks existing topics, including those of other programs. Settings that this client may not read are named in the log.
 * @throws TransportError `mismatch` for a compacted topic, which keeps only the last message of a key
 */
export async function checkSettings(admin: Admin, specs: readonly DestinationSpec[], logger: Logger): Promise<void> {
  const kept = specs.filter(({ keepsEach }) => keepsEach === true)
  if (kept.length === 0) return
  const configs = await read(admin, names(kept), logger)
  if (configs.size === 0) return
  for (const { name } of kept) {
    const policy = configs.get(name)?.['cleanup.policy']
    if (policy?.includes('compact') === true) throw compacted(name, policy)
  }
  for (const { name, deadLetters } of kept) if (deadLetters === true) warnOfLimits(name, configs.get(name), logger)
  for (const spec of kept.filter(isDelayTopic)) warnOfDelays(spec, configs.get(spec.name), logger)
  const retries = kept.filter(({ name, groups }) => groups.length === 1 && name.endsWith(retryEnd(groups)))
  if (retries.length === 0) return
  const channels = await read(admin, [...new Set(retries.map(channelOf))], logger)
  for (const spec of retries) warnOfRetries(spec.name, configs.get(spec.name), channels.get(channelOf(spec)), logger)
}

const names = (specs: readonly DestinationSpec[]): readonly string[] => specs.map(({ name }) => name)

/** Suffix of a retry channel: `<channel>.<group>.retry`. */
const retryEnd = (groups: readonly string[]): string => `.${groups[0]}.retry`

function channelOf({ name, groups }: DestinationSpec): string {
  return name.slice(0, -retryEnd(groups).length)
}

async function read(admin: Admin, topics: readonly string[], logger: Logger): Promise<Configs> {
  try {
    return await admin.configs(topics)
  } catch (error) {
    logger.info(
      { topics, err: error },
      'cannot read the settings of topics: whether they keep what waits there is unknown',
    )
    return new Map()
  }
}

function compacted(name: string, policy: string): Error {
  const has = `topic "${name}" has cleanup.policy=${policy} and would keep the last message of a key alone`
  const remedy = `kafka-configs.sh --alter --entity-type topics --entity-name ${name} --add-config cleanup.policy=delete`
  return transportError('mismatch', has, name, undefined, `Set it to delete: ${remedy}`)
}

export const UNLIMITED = '-1'

function warnOfLimits(topic: string, config: Readonly<Record<string, string>> | undefined, logger: Logger): void {
  const limits = ['retention.ms', 'retention.bytes'].flatMap((name) => {
    const value = config?.[name]
    return value === undefined || value === UNLIMITED ? [] : [`${name}=${value}`]
  })
  if (limits.length === 0) return
  logger.warn(
    { topic },
    `${topic} deletes dead letters (${limits.join(', ')}), redriven or not. Keep them: kafka-configs.sh --alter --entity-type topics ` +
      `--entity-name ${topic} --add-config retention.ms=-1,retention.bytes=-1`,
  )
}

/** A forwarder rewrites long-delayed messages regularly, but it may be down meanwhile. */
function warnOfDelays(
  { name: topic, retentionMs = 0 }: DestinationSpec,
  config: Readonly<Record<string, string>> = {},
  logger: Logger,
): void {
  const { 'retention.ms': ms = UNLIMITED, 'retention.bytes': bytes = UNLIMITED } = config
  const isShort = ms !== UNLIMITED && Number(ms) < retentionMs
  if (!isShort && bytes === UNLIMITED) return
  logger.warn(
    { topic },
    `${topic} deletes delayed messages that are not due (retention.ms=${ms}, retention.bytes=${bytes}). Keep them: kafka-configs.sh ` +
      `--alter --entity-type topics --entity-name ${topic} --add-config retention.ms=${retentionMs},retention.bytes=${UNLIMITED}`,
  )
}

function warnOfRetries(
  topic: string,
  retries: Readonly<Record<string, string>> | undefined,
  channel: Readonly<Record<string, string>> | undefined,
  logger: Logger,
): void {
  for (const name of ['retention.ms', 'retention.bytes']) {
    const [own, wanted] = [retries?.[name], channel?.[name]]
    if (own === undefined || wanted === undefined || own === UNLIMITED) continue
    if (wanted !== UNLIMITED && Number(own) >= Number(wanted)) continue
    logger.warn(
      { topic },
      `${topic} deletes messages before their channel does (${name}=${own}, there ${wanted}): one that waits for its retry is lost. ` +
        `kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config ${name}=${wanted}`,
    )
  }
}
