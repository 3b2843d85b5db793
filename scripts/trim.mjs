/**
 * Runs after `npm ci`, on any version of Node: deletes the C headers that come with the Node of the dev dependencies, which are
 * two fifths of it.
 */
import { rmSync } from 'node:fs'

const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
for (const folder of ['include', 'share', 'CHANGELOG.md'])
  rmSync(new URL(`../node_modules/node/node_modules/${platform}/${folder}`, import.meta.url), {
    recursive: true,
    force: true,
  })
