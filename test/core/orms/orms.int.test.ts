/** Transactions of other libraries, which are installed when this runs first: `installed/package.json`. */
import { describeWith } from '../../support/servers/index.ts'
import { suitesOf } from '../../support/suite/packages.ts'

const { orms, bound } = await suitesOf('test/core/orms/installed', {
  orms: 'test/core/orms/orms.ts',
  bound: 'test/core/orms/bound.ts',
})

describeWith(['postgres'], 'transactions of other libraries', orms)
describeWith(['postgres'], 'a transaction of another library', bound)
