import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Command } from './recipe.ts'

/** Runs a command to its end in `cwd`. Rejects with the end of its output when it fails. */
export async function runCommand(command: Command, cwd: string, signal?: AbortSignal): Promise<void> {
  await runCommandOutput(command, cwd, signal)
}

/** The same. @returns its standard output */
export function runCommandOutput(command: Command, cwd: string, signal?: AbortSignal): Promise<string> {
  const options = { cwd, env: { ...process.env, ...command.env }, ...command.account, ...(signal && { signal }) }
  return new Promise((resolve, reject) => {
    execFile(command.file, command.args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else
        reject(
          new Error(`${command.file} failed: ${lastLines(`${stdout}${stderr}`) || error.message}`, { cause: error }),
        )
    })
  })
}

/** Starts a command in a session of its own (Ctrl-C in the terminal does not reach it), its output in `logFile`. */
export function spawnCommand(command: Command, cwd: string, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a')
  try {
    return spawn(command.file, command.args, {
      cwd,
      env: { ...process.env, ...command.env },
      stdio: ['ignore', log, log],
      detached: true,
      ...command.account,
    })
  } finally {
    closeSync(log)
  }
}

/** The last non-empty lines of a program's output. */
export function lastLines(output: string, count = 15): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  return lines.slice(-count).join('\n')
}
