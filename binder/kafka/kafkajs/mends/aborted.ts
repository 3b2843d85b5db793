/**
 * Which records of an answer belong to aborted transactions. The broker sends them along with a list of the aborted
 * transactions that touch the answer, and leaves it to the reader to drop them.
 *
 * @see https://github.com/apache/kafka/blob/4.2/clients/src/main/java/org/apache/kafka/clients/consumer/internals/CompletedFetch.java
 */

export interface AbortedTransaction {
  readonly producerId: string
  readonly firstOffset: string
}

/** A record as kafkajs decodes it, as far as it is used. */
export interface DecodedRecord {
  readonly offset: string
  readonly key: Buffer | null
  /** kafkajs hands these to nobody and counts their offsets as read. */
  isControlRecord?: boolean | undefined
  /** Missing in the formats before transactions. */
  readonly batchContext?: { readonly producerId: string; readonly inTransaction: boolean } | undefined
}

/** Of a control record's key: two bytes of version, then the type. */
const TYPE_AT = 2
const ABORT = 0

/**
 * Marks the records of aborted transactions as control records. A transaction of a producer is aborted from its first
 * offset to the producer's next abort marker. The list may be in any order: the broker's is in that of the ends.
 */
export function markAborted(records: readonly DecodedRecord[], transactions: readonly AbortedTransaction[]): void {
  if (transactions.length === 0) return
  const ahead = transactions
    .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: Number(firstOffset) }))
    .sort((a, b) => b.firstOffset - a.firstOffset)
  const aborting = new Set<string>()
  for (const record of records) {
    const offset = Number(record.offset)
    for (let next = ahead.at(-1); next !== undefined && next.firstOffset <= offset; next = ahead.at(-1)) {
      aborting.add(next.producerId)
      ahead.pop()
    }
    const { batchContext } = record
    if (batchContext === undefined || !aborting.has(batchContext.producerId)) continue
    if (record.isControlRecord === true) {
      if (isAbortMarker(record)) aborting.delete(batchContext.producerId)
    } else if (batchContext.inTransaction) record.isControlRecord = true
  }
}

function isAbortMarker({ key }: DecodedRecord): boolean {
  return key !== null && key.length >= TYPE_AT + 2 && key.readInt16BE(TYPE_AT) === ABORT
}
