/** Errors of sagas over several databases. */
import { type ErrorClass, type ErrorOf, errorClass } from '../../core/define-error-class.ts'

/** Fields of a `ShardingError`, by code. */
export interface ShardingErrors {
  /**
   * The shards of this process differ from those recorded in the databases: one is missing, has another name, was not migrated,
   * or two databases contradict each other. Nothing was started.
   */
  'saga.shards_mismatch': { message: string }
  /**
   * The database refused a start: it is not the intended shard, or it has another layout of the shards. Nothing was started. The
   * sharded coordinator reads the layouts again before it throws this.
   */
  'saga.shards_changed': { what: string }
  /**
   * `start(tx, ...)` in a transaction of another database than the saga's shard. Nothing was started. The saga belongs to `shard`; `here`
   * is the shard of the transaction's database, `undefined` if it is none.
   */
  'saga.other_shard': { saga: string; id: string; shard: string; here: string | undefined }
}

/** Error of sagas over several databases. Its fields depend on its `code`: see `ShardingErrors`. */
export type ShardingError<Code extends keyof ShardingErrors = keyof ShardingErrors> = ErrorOf<ShardingErrors, Code>

/** Error of sagas over several databases. Its fields depend on its `code`: see `ShardingErrors`. */
export const ShardingError: ErrorClass<ShardingErrors> = errorClass<ShardingErrors>(
  'ShardingError',
  {
    'saga.shards_mismatch': ({ message }) => message,
    'saga.shards_changed': ({ what }) => `${what}: start it again, through the sharded coordinator of its service`,
    'saga.other_shard': ({ saga, id, shard, here }) =>
      `saga ${saga}/${id} belongs on shard "${shard}", and this transaction is on ${here === undefined ? 'a database that is no shard' : `"${here}"`}: ` +
      'open it on the database that shardOf() names, or start without `tx`',
  },
  ['saga.shards_changed'],
)
