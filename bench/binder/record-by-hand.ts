import { newId } from 'concordat/core'
import type { Scene } from './side.ts'
import { Payload } from './workload.ts'

export interface RecordToSend {
  readonly key: string | null
  readonly value: string
  readonly headers?: Record<string, string>
}

/** The record a careful user would write by hand: checked, with an id and the CloudEvents headers. */
export function recordByHand(payload: Payload, { publishing, keyed }: Scene): RecordToSend {
  const value = JSON.stringify(Payload.parse(payload))
  const headers = {
    ce_specversion: '1.0',
    ce_id: newId(),
    ce_source: 'bench',
    ce_type: publishing,
    ce_time: new Date().toISOString(),
    'content-type': 'application/json',
    ...(keyed ? { ce_partitionkey: payload.account } : {}),
  }
  return { key: keyed ? payload.account : null, value, headers }
}

export function plainRecord(payload: Payload, { keyed }: Scene): RecordToSend {
  return { key: keyed ? payload.account : null, value: JSON.stringify(payload) }
}
