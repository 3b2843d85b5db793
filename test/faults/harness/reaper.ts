import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'

/** Shell script whose input ends with this process, however it dies; it then kills the process groups it was given. */
const SCRIPT = `
pids=' '
while read -r word pid; do
  case "$word" in
    add) pids="$pids$pid " ;;
    gone) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
    done) exit 0 ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid"; done
`

/** Ends the workers, including stopped ones, if this process is killed with -9. (Servers have their own guard.) */
export class Reaper {
  readonly #shell = spawn('sh', ['-c', SCRIPT], { cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], detached: true })

  constructor() {
    this.#shell.on('error', () => {})
    this.#shell.stdin.on('error', () => {})
    this.#shell.unref()
    if (this.#shell.stdin instanceof Socket) this.#shell.stdin.unref()
  }

  add(pid: number): void {
    this.#shell.stdin.write(`add ${pid}\n`)
  }

  gone(pid: number): void {
    this.#shell.stdin.write(`gone ${pid}\n`)
  }

  async dismiss(): Promise<void> {
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null) return
    this.#shell.ref()
    this.#shell.stdin.end('done\n')
    await once(this.#shell, 'exit')
  }
}
