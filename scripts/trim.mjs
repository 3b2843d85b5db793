/**
 * Deletes the C headers of the Node among the dev dependencies, which are two fifths of it. npm runs this as `dependencies`: after
 * it has changed `node_modules` here, and never in a project that installs the package. Works on any version of Node.
 */
import { rmSync } from 'node:fs'

const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
for (const folder of ['include', 'share', 'CHANGELOG.md'])
  rmSync(new URL(`../node_modules/node/node_modules/${platform}/${folder}`, import.meta.url), {
    recursive: true,
    force: true,
  })
