import type { Generation, LogId, StateId } from '../store/cluster-store.ts'

/**
 * Names of all keys of one cluster, all in one slot because of the hash tag. `scripts-log.ts` and its neighbours describe their
 * content. Names in a key are percent-encoded, so that none can be mistaken for another.
 */
export class ClusterKeys {
  /** Prefix of every key of the cluster. */
  readonly base: string

  constructor(prefix: string, cluster: string) {
    this.base = `${prefix}{${encodeURIComponent(cluster)}}:`
  }

  /** Returns the keys of data, log and counters of a state, or of the members. */
  of({ state }: Pick<LogId, 'state'>): { readonly data: string; readonly log: string; readonly meta: string } {
    const space = state === undefined ? 'members' : stateName({ state })
    return { data: `${this.base}data:${space}`, log: `${this.base}log:${space}`, meta: `${this.base}meta:${space}` }
  }

  get due(): string {
    return `${this.base}due:members`
  }

  tombs(state: Pick<StateId, 'state'>): string {
    return `${this.base}tombs:${stateName(state)}`
  }

  request(requestId: string): string {
    return `${this.base}request:${requestId}`
  }

  gone(joinId: string): string {
    return `${this.base}gone:${joinId}`
  }
}

function stateName({ state }: Pick<StateId, 'state'>): string {
  return `state/${encodeURIComponent(state)}`
}

/** Returns a generation as one word, without spaces. */
export function tagOf({ instance, generation }: Generation): string {
  return `${encodeURIComponent(instance)}.${generation}`
}

export function generationOf(tag: string): Generation {
  const dot = tag.lastIndexOf('.')
  return { instance: instanceOf(tag.slice(0, dot)), generation: Number(tag.slice(dot + 1)) }
}

/** Keys of another program are returned unchanged. */
export function instanceOf(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
