/** `npm run example 03`: runs a numbered example of this folder. Without a number, it lists the examples. */
import { readdirSync, readFileSync } from 'node:fs'

const folder = new URL('.', import.meta.url)
const files = readdirSync(folder).filter((name) => /^\d\d-.*\.ts$/.test(name))
const [number = ''] = process.argv.slice(2)
const file = files.find((name) => name === number || name.startsWith(`${number.padStart(2, '0')}-`))
if (file !== undefined) {
  await import(new URL(file, folder).href)
} else {
  const titles = files.map((name) => `  ${name.slice(0, 2)}  ${titleOf(name)}`)
  console.error(
    `${number === '' ? '' : `There is no example ${JSON.stringify(number)}. `}npm run example NUMBER:\n\n${titles.join('\n')}`,
  )
  process.exitCode = number === '' ? 0 : 2
}

/** Returns the text of the doc comment at the top of the file, up to `Run:`. */
function titleOf(name: string): string {
  const text = readFileSync(new URL(name, folder), 'utf8').replace(/^\/\*\*\s*(\*\s)?/, '')
  return text.split(/ Run: /)[0] ?? name
}
