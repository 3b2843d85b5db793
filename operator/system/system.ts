/** Combined declarations of services: channels with their senders and readers, sagas and roles. JSON. */

import type { PipelineStage } from '../../binder/bindings/pipeline-description.ts'

/** All services together. JSON. */
export interface SystemTopology {
  readonly services: readonly SystemService[]
  readonly channels: readonly SystemChannel[]
}

/** A destination on the broker, and who uses it. */
export interface SystemChannel {
  readonly name: string
  /** `replies`: of sagas, and of requests. */
  readonly role: 'channel' | 'dead-letters' | 'retries' | 'replies'
  readonly partitions: number
  readonly retentionMs: number | null
  /** The channel whose dead letters or retries it holds. */
  readonly of: string | null
  /** Services that send to it, by name. */
  readonly senders: readonly string[]
  /** Readers; `group` is `null` for a subscription of each instance. */
  readonly readers: ReadonlyArray<{ readonly service: string; readonly group: string | null }>
  /** Durable groups that it is declared with and that none of these services reads in. */
  readonly otherGroups: readonly string[]
}

/** A service. */
export interface SystemService {
  readonly name: string
  readonly bindings: readonly SystemBinding[]
  /** Channels it sends to beside its bindings. */
  readonly sends: readonly string[]
  readonly sagas: readonly SystemSaga[]
  /** Pipelines, each with the bindings that run it. */
  readonly pipelines: readonly SystemPipeline[]
  /** Roles that one instance leads at a time. */
  readonly leads: readonly string[]
  readonly schedules: readonly SystemSchedule[]
  readonly cluster: string | null
}

/** A binding, with what it needs beside its input. */
export interface SystemBinding {
  readonly name: string
  readonly kind: 'sink' | 'processor' | 'batch' | 'poll' | 'source'
  readonly input: string | null
  readonly group: string | null
  readonly outputs: readonly string[]
  readonly deadLetters: string | null
  readonly retries: string | null
  /** Reply channel of a responder. */
  readonly answers: string | null
}

/** A pipeline that a service runs. */
export interface SystemPipeline {
  readonly name: string
  /** Parts of each of its bindings, in the order of the messages, without the timers of its windows. */
  readonly parts: readonly SystemPipelinePart[]
}

/** The stages between two channels: one handler. */
export interface SystemPipelinePart {
  /** The binding that runs it. */
  readonly binding: string
  readonly input: string
  readonly stages: readonly PipelineStage[]
}

/** Jobs of a role. */
export interface SystemSchedule {
  readonly role: string
  readonly jobs: ReadonlyArray<{ readonly name: string; readonly when: string }>
}

/** A saga that a service coordinates. */
export interface SystemSaga {
  readonly name: string
  readonly version: number
  readonly deadlineMs: number | null
  readonly steps: readonly SystemStep[]
}

/** A step of a saga. */
export interface SystemStep {
  readonly name: string
  /**
   * `local`, `command`, `tcc`, `saga`, `timer`, `signal`, `each` or `choose`; of a global transaction `code`, and after it a `branch` for each
   * that the code may call.
   */
  readonly kind: string
  /** The point of no return. */
  readonly pivot: boolean
  /** Something is called to undo it. */
  readonly compensates: boolean
  /** Steps of one number are open together; `null`: the step is alone. */
  readonly group: number | null
  /** Whether it is needed is asked before it begins. */
  readonly conditional: boolean
  /** The branches that it is in, outermost first: made only if each of these steps chose so. */
  readonly choices: readonly { readonly of: string; readonly is: string }[]
  /** The branches that it chooses from; `null`: it chooses nothing. */
  readonly chooses: readonly string[] | null
  /** The channel that its commands go to. */
  readonly to: string | null
  /** The channel whose messages it waits for. */
  readonly from: string | null
  /** The saga that it is. */
  readonly saga: string | null
  /** Nothing is called or sent: it only waits, for a time or a message. */
  readonly waits: boolean
}
