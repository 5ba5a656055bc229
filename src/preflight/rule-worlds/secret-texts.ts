// Texts on both sides of what counts as a strong secret. None of them is a secret of anybody.

type Text = readonly [name: string, text: string]

export const tooPredictable: readonly Text[] = [
  ['one letter', 'z'.repeat(64)],
  ['the alphabet', 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'],
  ['the alphabet backwards', 'zyxwvutsrqponmlkjihgfedcba9876543210'],
  ['the keyboard', 'qwertyuiopasdfghjklzxcvbnm1234567890'],
  ['a repeated word', 'correcthorse'.repeat(10)],
]

export const strongEnough: readonly Text[] = []
