import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const PROGRAM = fileURLToPath(new URL('signal-process.ts', import.meta.url))

/** Sends SIGTERM to the program once it is ready. */
async function terminated(
  scene: string,
): Promise<{ readonly said: string; readonly code: unknown; readonly signal: unknown }> {
  const child = spawn(process.execPath, ['--conditions=concordat-source', PROGRAM, scene], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
    if (text.includes('ready')) child.kill('SIGTERM')
  })
  const [code, signal] = (await once(child, 'close')) as [unknown, unknown]
  return { said, code, signal }
}

describe('a process that is terminated', () => {
  it('ends by the signal once both of its services have closed', async () => {
    const { said, signal } = await terminated('two')
    expect(said).toBe('ready\nfast has closed\nslow has closed\n')
    expect(signal).toBe('SIGTERM')
  })

  it.for(['once', 'on'])('is not ended under a listener of its own that was added by `%s`', async (how) => {
    const { said, code } = await terminated(how)
    expect(said).toBe('ready\nfast has closed\nthe listener of the program has ended\n')
    expect(code).toBe(0)
  })
})
