import { ConcordatError } from '../core/errors.ts'

/** Another process has the folder, and PGlite takes one at a time: two would destroy it. Nothing was changed. */
export class DataDirectoryInUse extends ConcordatError {
  readonly code = 'embedded.in_use' as const
  readonly retryable = true as const
  readonly dataDir: string
  /** On its host: in a container it is mostly 1. 0 when it is not known. */
  readonly pid: number
  /** Host name of the process; in a container the container's. Undefined when it is not known. */
  readonly host: string | undefined

  constructor(dataDir: string, pid: number, host?: string) {
    const user = `${pid === 0 ? 'another process' : `process ${pid}`}${host === undefined ? '' : ` on host ${host}`}`
    super(`"${dataDir}" is in use by ${user}: wait for its end, or give embedded() another dataDir`)
    this.dataDir = dataDir
    this.pid = pid
    this.host = host
  }
}

/**
 * The folder no longer belongs to this process: it was paused for so long that another machine took it for dead, or the file `lock`
 * was removed. No statement runs from then on, and nothing is written; what was committed before is in the folder.
 */
export class DataDirectoryLost extends ConcordatError {
  readonly code = 'embedded.lost' as const
  readonly retryable = true as const
  readonly dataDir: string

  constructor(dataDir: string) {
    super(
      `"${dataDir}" was taken by another process while this one stood still, or its file "lock" was removed: end this process and start it again`,
    )
    this.dataDir = dataDir
  }
}

/** The folder contains foreign files, or another program's database. Nothing was changed. */
export class DataDirectoryForeign extends ConcordatError {
  readonly code = 'embedded.foreign' as const
  readonly retryable = false as const
  readonly dataDir: string

  constructor(dataDir: string, entry: string) {
    super(`"${dataDir}" holds "${entry}", which is not ours: give embedded() an empty folder or a new one`)
    this.dataDir = dataDir
  }
}

/**
 * The folder cannot be made, or not be read and written, or PGlite cannot open the database in it. `cause` is what the system or
 * PGlite said.
 */
export class DataDirectoryUnusable extends ConcordatError {
  readonly code = 'embedded.unusable' as const
  readonly retryable = false as const
  readonly dataDir: string
  /** The reason, in a few words. */
  readonly reason: string

  constructor(dataDir: string, reason: string, remedy: string, options?: ErrorOptions) {
    super(`"${dataDir}" cannot be used as a folder (${reason}): ${remedy}`, options)
    this.dataDir = dataDir
    this.reason = reason
  }
}
