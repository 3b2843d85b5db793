/** Description of a binding that belongs to a pipeline: for pictures and documents, never used at run time. JSON. */

/** A stage of a pipeline, as it is drawn. */
export interface PipelineStage {
  readonly kind: 'filter' | 'map' | 'flatMap' | 'tap' | 'keyBy' | 'window' | 'branch' | 'through' | 'to' | 'forEach'
  /** The function's name, what a window gathers, or the channel. `''`: nothing is known but the kind. */
  readonly label: string
  /** Where it sends; of a window that closes by time, where its timers go. `null`: nowhere. */
  readonly channel: string | null
  /** For a branch: its ways in the order of their tests. */
  readonly ways: ReadonlyArray<{ readonly name: string; readonly stages: readonly PipelineStage[] }>
}

/** The part of a pipeline that one binding runs. */
export interface PipelinePart {
  readonly pipeline: string
  /** `timers`: closes the windows of another part that are due, and has no stages of its own. */
  readonly role: 'stages' | 'timers'
  readonly stages: readonly PipelineStage[]
}

const owners = new WeakMap<PipelinePart, object>()

/** Notes which declaration of a pipeline the part belongs to: two pipelines may have one name. */
export function setOwner(part: PipelinePart, owner: object): void {
  owners.set(part, owner)
}

export function ownerOf(part: PipelinePart): object | undefined {
  return owners.get(part)
}
