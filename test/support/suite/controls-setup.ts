/** Set-up of the fixtures of `controls.ts`: skips the tests that the fixture does not name. */
import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { beforeEach } from 'vitest'

interface Named {
  readonly name: string
  readonly suite?: Named | undefined
}

function titleOf({ name, suite }: Named): string {
  return suite === undefined ? name : `${titleOf(suite)} ${name}`
}

beforeEach(({ task, skip }) => {
  const { filepath } = task.file
  const patterns = JSON.parse(readFileSync(join(dirname(filepath), 'patterns.json'), 'utf8')) as Record<string, string>
  const pattern = patterns[basename(filepath, '.fixture.ts')]
  if (pattern === undefined) throw new Error(`${filepath} has no pattern in patterns.json`)
  if (!new RegExp(pattern).test(titleOf(task))) skip()
})
