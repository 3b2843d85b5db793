import type { Logger } from '../logger.ts'
import { fieldOf } from '../thrown-values.ts'
import { failureKind } from './classify-errors.ts'
import type { RedisConnection } from './connection.ts'
import { evictionPolicy } from './info.ts'

const UNKNOWN_POLICY = 'Redis does not tell its settings: see to it that maxmemory-policy is noeviction'

export interface StoredData {
  /** Such as `fencing tokens`. */
  readonly name: string
  /** False: its keys never expire, and no `volatile-` policy evicts them. */
  readonly expires: boolean
}

/** Warns at most once each: the server may evict this data; its policy is unknown. */
export class EvictionWarning {
  readonly #data: StoredData
  readonly #logger: Logger
  readonly #warned = new Set<string>()

  constructor(data: StoredData, logger: Logger) {
    this.#data = data
    this.#logger = logger
  }

  /** @param fields logged with the warning */
  check(info: string, fields: Readonly<Record<string, unknown>> = {}): void {
    const { name, expires } = this.#data
    const policy = evictionPolicy(info)
    if (policy === undefined || (!expires && policy.startsWith('volatile-'))) return
    this.#warnOnce(`Redis may evict ${name}: set maxmemory-policy noeviction`, { ...fields, policy })
  }

  /** @param error of `RedisConnection.info`; without an answer the next connection tells */
  failed(error: unknown): void {
    if (failureKind(fieldOf(error, 'cause')) === 'refused') this.#warnOnce(UNKNOWN_POLICY, { err: error })
  }

  #warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#logger.warn(fields, message)
  }
}

/** Asks each server that the connection meets. */
export function warnOfEviction(connection: RedisConnection, data: StoredData, logger: Logger): void {
  const warning = new EvictionWarning(data, logger)
  connection.onServer((server) => {
    const asking = connection.info(server).then(
      (info) => warning.check(info),
      (error: unknown) => warning.failed(error),
    )
    // A logger that throws.
    asking.catch(() => {})
  })
}
