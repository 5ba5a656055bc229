// Texts on both sides of what counts as a strong secret: each shows by its verdict how one part of the
// estimate counts. None of them is a secret of anybody.

type Text = readonly [name: string, text: string]

export const tooPredictable: readonly Text[] = [
  ['one letter', 'z'.repeat(64)],
  ['the alphabet', 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'],
  ['the alphabet backwards', 'zyxwvutsrqponmlkjihgfedcba9876543210'],
  ['the keyboard', 'qwertyuiopasdfghjklzxcvbnm1234567890'],
  ['a repeated word', 'correcthorse'.repeat(10)],
  ['a run at its beginning counts once', '4ipdttdadopi5qpq4prtau5q7uoooo45qopqd'],
  ['three keys side by side', '00keekoIOpeQDQDOkQyk1y0OOeZoOZ1eZod'],
  ['a copy of four symbols tells nothing new', 'bgyobayaoufgayabgaofoofaoobbuyoobfaofofafouabbg'],
  ['it ends as it begins', '7974c08ff533876a8d5337d23c734b43a527974c'],
  ['strong only with what is behind the 256th symbol', `${'z'.repeat(222)}taipajwrbbtiaranpthttajshhwbtjanwnjb`],
  ['steps beside a run', 'CZChNNgQBVCsQjkQZjkkCdkdQBkQj1234kkkZ'],
  ['less than one bit too few', 'aamaxyqycmaghaxgmhlchxmxmmghkhqmbamycaamaxyqycmagh'],
]

export const strongEnough: readonly Text[] = [
  ['hex with a run in it', 'd6a0fd6939289bc93df4758dab79vcx1c4b0d9453'],
  ['hex with a run across the keyboard and the alphabet', 'e77b3f19dd3b89fb8f34684b6f4b198onmlf6e9'],
  ['few symbols, and just enough of them', 'YggyKqgCoGOYcponmkGouqqUegOgeOoeYKo'],
  ['strong by its 256th symbol', `${'z'.repeat(216)}fee3cf7ffacac4c7ed73a7cdfa3e4dd73da7da3a`],
  ['pairs that are neighbours by chance', 'vvcztsrqpazcszaconhviaxhppiphtzuiihiso'],
  ['a strong end behind a long run', `${'z'.repeat(224)}a99bfc13759611089753bc8368df54bf`],
  ['copies and neighbours, and enough beside them', 'cn4xnffafx44qfnnc4qftqxajqxc4cxnnqtannq4qfnnf4'],
]
