import type { Logger } from '../logger.ts'
import { fieldOf } from '../thrown-values.ts'
import { failureKind } from './classify-errors.ts'
import { peerOf, type RedisConnectionClient } from './client.ts'
import type { RedisConnection } from './connection.ts'
import { evictionPolicy } from './info.ts'

const UNKNOWN_POLICY = 'Redis does not tell its settings: see to it that maxmemory-policy is noeviction'

export interface StoredData {
  /** Such as `fencing tokens`. */
  readonly name: string
  /** False if its keys never expire, so that no `volatile-` policy evicts them. */
  readonly expires: boolean
}

/** Warns at most once for each case: the server may evict this data, or its policy is unknown. */
export class EvictionWarning {
  readonly #data: StoredData
  readonly #logger: Logger
  readonly #warned = new Set<string>()

  constructor(data: StoredData, logger: Logger) {
    this.#data = data
    this.#logger = logger
  }

  /** @param server logged with the warning: its address, or its name in errors */
  check(info: string, server: RedisConnectionClient | string): void {
    const { name, expires } = this.#data
    const policy = evictionPolicy(info)
    if (policy === undefined || (!expires && policy.startsWith('volatile-'))) return
    this.#warnOnce(`Redis may evict ${name}: set maxmemory-policy noeviction`, { server: nameOf(server), policy })
  }

  /** @param error of `RedisConnection.info`; without a reply, the next connection is checked */
  failed(error: unknown, server: RedisConnectionClient | string): void {
    if (failureKind(fieldOf(error, 'cause')) !== 'refused') return
    this.#warnOnce(UNKNOWN_POLICY, { server: nameOf(server), err: error })
  }

  #warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#logger.warn(fields, message)
  }
}

/** Asks each server to which the connection connects. */
export function warnOfEviction(connection: RedisConnection, data: StoredData, logger: Logger): void {
  const warning = new EvictionWarning(data, logger)
  connection.onServer((server) => {
    const asking = connection.info(server).then(
      (info) => warning.check(info, server),
      (error: unknown) => warning.failed(error, server),
    )
    // A logger that throws.
    asking.catch(() => {})
  })
}

function nameOf(server: RedisConnectionClient | string): string | undefined {
  return typeof server === 'string' ? server : peerOf(server)
}
