/** The generated reference. Its generator is installed when this runs first. */
import { suitesOf } from '../support/suite/packages.ts'

const { reference } = await suitesOf('scripts/api', { reference: 'test/house/support/reference-suite.ts' })

reference()
