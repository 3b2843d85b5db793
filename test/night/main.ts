/**
 * `npm run test:night [-- SECTION...]`: every seed, fault and simulation that a merge leaves out, one after the other,
 * with every server required. Continues after a failure. Without a section it runs all of them, which takes several
 * hours; the scheduled workflow runs them side by side.
 *
 * Exit code: 0 when everything passed, 1 when not, 2 for an unknown section.
 */
import { spawnSync } from 'node:child_process'
import { SECTIONS } from './sections.ts'

const names = process.argv.slice(2)
const unknown = names.filter((name) => !Object.hasOwn(SECTIONS, name))
if (unknown.length > 0) {
  console.error(
    `test:night: there is no section "${unknown.join(', ')}", choose from ${Object.keys(SECTIONS).join(', ')}`,
  )
  process.exit(2)
}

const env = { ...process.env, CONCORDAT_NIGHT: '1', CONCORDAT_REQUIRE_SERVERS: '1', CONCORDAT_SECOND_TRY: '1' }
const lines: string[] = []
for (const [section, commands] of Object.entries(SECTIONS)) {
  if (names.length > 0 && !names.includes(section)) continue
  for (const command of commands) {
    const begun = performance.now()
    console.log(`\n== npm run ${command.join(' ')}`)
    const { status } = spawnSync('npm', ['run', ...command], { stdio: 'inherit', env })
    const seconds = ((performance.now() - begun) / 1_000).toFixed(0)
    lines.push(`${status === 0 ? 'passed' : 'FAILED'} in ${seconds} s: npm run ${command.join(' ')}`)
  }
}
const failed = lines.filter((line) => line.startsWith('FAILED')).length
console.log(`\n${lines.join('\n')}\n${lines.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
