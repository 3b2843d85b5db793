import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: a process of a test has no terminal
import { ask } from '../../packages/cli/commands/confirm.ts'

/** A terminal with this input. */
function terminal(typed: string) {
  const input = Object.assign(new PassThrough(), { isTTY: true })
  const output = new PassThrough()
  input.end(typed)
  return { input, output, shown: () => String(output.read()) }
}

describe('a question', () => {
  test.each([
    ['y\n', true],
    ['YES\n', true],
    ['n\n', false],
    ['\n', false],
    ['yeah\n', false],
    ['', false],
  ])('answered with %j is %s', async (typed, answer) => {
    const { input, output, shown } = terminal(typed)
    expect(await ask({ input, output }, 'The message m-1 will not be sent.', 'Drop it?')).toBe(answer)
    expect(shown()).toContain('The message m-1 will not be sent.\nDrop it? [y/N]')
  })

  test('shows names from the database without what would steer the terminal', async () => {
    const { input, output, shown } = terminal('y\n')
    await ask({ input, output }, 'Schema "shop".\nOthers: "\u001b[2Jevil\u202e".', 'Apply?')
    expect(shown()).toContain('Schema "shop".\nOthers: " [2Jevil ".\nApply? [y/N]')
  })

  test('is answered with no when the process is asked to end', async () => {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    const stopping = new AbortController()
    const answer = ask({ input, output: new PassThrough(), stop: stopping.signal }, 'plan', 'Drop it?')
    stopping.abort()
    expect(await answer).toBe(false)
  })

  test('is refused without a terminal to answer it', async () => {
    const { output } = terminal('')
    await expect(ask({ input: new PassThrough(), output }, 'plan', 'Drop it?')).rejects.toThrow('pass --yes')
  })
})
