import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const STEP = /\n(dependencies\(\) \{\n[^]*?\n\})\n/.exec(readFileSync('.ci/run', 'utf8'))?.[1] ?? ''

/** Returns the output of the step for this answer of npm, and whether it passes. */
function outcome({ licences = 0, audit = 0, says = '' }): readonly string[] {
  const stubbed = `set -euo pipefail
    npm() { if [ "$1" = audit ]; then echo "${says}"; return ${audit}; fi; return ${licences}; }
    ${STEP}
    if dependencies; then echo passed; else echo failed; fi`
  const { stdout, stderr } = spawnSync('/bin/bash', ['-c', stubbed], { encoding: 'utf8' })
  return `${stdout}${stderr}`.trimEnd().split('\n')
}

test('.ci/run fails for an advisory or a licence, and not for an unavailable registry', () => {
  expect(outcome({ says: 'found 0 vulnerabilities' })).toEqual(['found 0 vulnerabilities', 'passed'])
  expect(outcome({ audit: 1, says: '1 high severity vulnerability' })).toEqual([
    '1 high severity vulnerability',
    'failed',
  ])
  expect(outcome({ licences: 1 }).at(-1)).toBe('failed')
  expect(outcome({ audit: 1, says: 'npm error audit endpoint returned an error' })).toEqual([
    'left out, since the registry answers with no advisories: npm audit',
    'passed',
  ])
})
