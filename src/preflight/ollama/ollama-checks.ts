// The Ollama chain.
import type { Check } from '../check.ts'

export const ollamaChecks: readonly Check[] = []
