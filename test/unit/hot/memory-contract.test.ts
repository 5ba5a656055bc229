import { hotStateContract } from '../../support/contracts/hot-state.ts'
import { createMemoryHotState } from '../../../src/hot/memory/memory-hot-state.ts'

hotStateContract('memory', async (given) => createMemoryHotState(given))
