/** Description of a binding that belongs to a pipeline, for diagrams and documents; never used at run time. JSON. */

/** A stage of a pipeline as drawn. */
export interface PipelineStage {
  readonly kind: 'filter' | 'map' | 'flatMap' | 'tap' | 'keyBy' | 'window' | 'branch' | 'through' | 'to' | 'forEach'
  /** Name of the function, subject of the window, or channel. `''` if only the kind is known. */
  readonly label: string
  /** Channel that it sends to; for a window that closes by time, that of its timers. `null`: none. */
  readonly channel: string | null
  /** For a branch: its ways in the order of their tests. */
  readonly ways: ReadonlyArray<{ readonly name: string; readonly stages: readonly PipelineStage[] }>
}

/** The part of a pipeline that one binding runs. */
export interface PipelinePart {
  readonly pipeline: string
  /** `timers`: closes due windows of another part, and has no stages. */
  readonly role: 'stages' | 'timers'
  readonly stages: readonly PipelineStage[]
}

const owners = new WeakMap<PipelinePart, object>()

/** Records the pipeline declaration that the part belongs to, because two pipelines may have the same name. */
export function setOwner(part: PipelinePart, owner: object): void {
  owners.set(part, owner)
}

export function ownerOf(part: PipelinePart): object | undefined {
  return owners.get(part)
}
