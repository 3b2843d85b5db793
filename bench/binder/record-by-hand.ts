import type { Measured } from '../compare.ts'
import { newId } from '../inside.ts'
import type { Scene, Works } from './side.ts'
import { Payload } from './workload.ts'

export interface RecordToSend {
  readonly key: string | null
  readonly value: string
  readonly headers?: Readonly<Record<string, string>>
}

type ToRecord = (payload: Payload) => RecordToSend

/** The ways to write a record by hand, each as a work of a side. @param publish all payloads, each as such a record */
export function publishWorks(scene: Scene, publish: (toRecord: ToRecord) => Promise<Measured>): Partial<Works> {
  const { headers = {} } = careful({ n: 0, account: 'account-10', text: '' }, scene)
  const padding = ' '.repeat(Object.entries(headers).join().length)
  const plain: ToRecord = (payload) => ({ key: scene.keyed ? payload.account : null, value: JSON.stringify(payload) })
  const padded: ToRecord = (payload) => ({ ...plain(payload), value: JSON.stringify(payload) + padding })
  return {
    publish: () => publish((payload) => careful(payload, scene)),
    publishPlain: () => publish(plain),
    publishPadded: () => publish(padded),
    publishConstant: () => publish((payload) => ({ ...plain(payload), headers })),
  }
}

/** Record that a careful user would write by hand: a checked payload, an id and the CloudEvents headers. */
function careful(payload: Payload, { publishing, keyed }: Scene): RecordToSend {
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
