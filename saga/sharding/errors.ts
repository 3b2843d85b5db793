/** Errors of sagas over several databases. */
import { ConcordatError } from '../../core/errors.ts'

/**
 * The shards that this process was given are not those that the databases know: one is missing, has another name there, was
 * not migrated, or two databases tell different stories. Nothing was started.
 */
export class SagaShardsMismatch extends ConcordatError {
  readonly code = 'saga.shards_mismatch' as const
  readonly retryable = false as const
}

/**
 * The database refused a start: it is another shard than the one it was for, or it knows another layout of the shards. Nothing
 * was started. The sharded coordinator looks again by itself first.
 */
export class SagaShardsChanged extends ConcordatError {
  readonly code = 'saga.shards_changed' as const
  readonly retryable = true as const

  constructor(what: string, options?: ErrorOptions) {
    super(`${what}: start it again, through the sharded coordinator of its service`, options)
  }
}

/** `start(tx, ...)` in a transaction of another database than the saga's shard. Nothing was started. */
export class SagaOtherShard extends ConcordatError {
  readonly code = 'saga.other_shard' as const
  readonly retryable = false as const
  /** Where the saga belongs. */
  readonly shard: string
  /** Shard of the transaction's database; `undefined`: none. */
  readonly here: string | undefined

  constructor(saga: string, id: string, shard: string, here: string | undefined) {
    super(
      `saga ${saga}/${id} belongs on shard "${shard}", and this transaction is on ${here === undefined ? 'a database that is no shard' : `"${here}"`}: ` +
        'open it on the database that shardOf() names, or start without `tx`',
    )
    this.shard = shard
    this.here = here
  }
}
