/** What a binding that belongs to a pipeline says of it: for pictures and documents, never for what runs. JSON. */

/** A stage of a pipeline, as it is drawn. */
export interface PipelineStage {
  readonly kind: 'filter' | 'map' | 'flatMap' | 'tap' | 'keyBy' | 'window' | 'branch' | 'through' | 'to' | 'forEach'
  /** The function's name, what a window gathers, or the channel. `''`: nothing is known but the kind. */
  readonly label: string
  /** Where it sends; of a window that closes by time, where its timers go. `null`: nowhere. */
  readonly channel: string | null
  /** Of a branch: its ways in the order in which they are asked. */
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
