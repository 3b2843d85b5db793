import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Writable } from 'node:stream'

/** Names the process group that the shell ends, in the folder of the server. */
export const PID_FILE = 'pid'

/**
 * Waits for one line on its input. The line means "all done". The end of the input means that the process that started the
 * server is gone, however it died: then end the server whose pid is in the folder, and remove the folder unless it is kept (then the
 * file with the pid goes last). PostgreSQL and RabbitMQ have processes outside of its group: whatever works
 * in its folder is ended too. What stands still goes on first, so that it can end in good order: a server does not start beside a lock file of one
 * that was killed and not waited for.
 */
const SCRIPT = `
all() {
  kill -s "$1" -- "-$pid"
  for each in /proc/[0-9]*; do
    case "$(readlink "$each/cwd")" in "$2" | "$2"/*) kill -s "$1" "\${each#/proc/}" ;; esac
  done
}
read -r _ && exit 0
if read -r pid < "$1/${PID_FILE}"; then
  all CONT "$1"
  kill -s "$2" -- "-$pid"
  i=0
  while kill -s 0 -- "-$pid" && [ $i -lt 30 ]; do i=$((i + 1)); sleep 0.1; done
  all KILL "$1"
fi
if [ "$3" = keep ]; then
  rm -f -- "$1/${PID_FILE}"
  exit 0
fi
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
`

/**
 * A tiny shell process beside a private server, so that neither the server nor its folder outlives this process, even
 * if this process is killed with SIGKILL.
 */
export class Watchdog {
  readonly #folder: string
  readonly #shell: ChildProcessByStdio<Writable, null, null>

  constructor(folder: string, stopSignal: NodeJS.Signals, isKept = false) {
    this.#folder = folder
    const args = ['-c', SCRIPT, 'watchdog', folder, stopSignal.replace('SIG', ''), isKept ? 'keep' : 'remove']
    this.#shell = spawn('sh', args, { cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    this.#shell.on('error', ignore)
    this.#shell.stdin.on('error', ignore)
    this.#shell.unref()
    if (this.#shell.stdin instanceof Socket) this.#shell.stdin.unref()
  }

  /** From now on this process group ends with us. */
  guard(pid: number): void {
    writeFileSync(join(this.#folder, PID_FILE), `${pid}\n`)
  }

  /** The process has ended, and its number may be reused: do not touch it again. */
  forget(): void {
    rmSync(join(this.#folder, PID_FILE), { force: true })
  }

  /** Ends the watch; resolves when the shell has ended. */
  async dismiss(): Promise<void> {
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null || this.#shell.pid === undefined) return
    this.#shell.ref()
    this.#shell.stdin.end('\n')
    await once(this.#shell, 'exit')
  }
}

const ignore = (): void => {}
