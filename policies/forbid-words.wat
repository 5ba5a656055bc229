;; Denies frames in which a word of the list stands, in ASCII letters of either case, and says which one.
;; Change the list at the end (lower case) and build it again: docs/policies.md.
(module
  (import "env" "host_reject" (func $reject (param i32 i32 i32) (result i32)))
  ;; Frames are written to the front; what the module needs stands behind the largest frame there is (256 KiB):
  ;; at 262144 which bytes begin a word, at 262400 what is said, at 262656 the words.
  (memory (export "memory") 5 5)

  (func $note_first_letters
    (local $word i32) (local $first i32)
    (local.set $word (i32.const 262656))
    (block $done
      (loop $each
        (br_if $done (i32.eqz (i32.load8_u (local.get $word))))
        (local.set $first (i32.load8_u offset=1 (local.get $word)))
        (i32.store8 offset=262144 (local.get $first) (i32.const 1))
        (i32.store8 offset=262144 (call $upper (local.get $first)) (i32.const 1))
        (local.set $word (call $next (local.get $word)))
        (br $each))))
  (start $note_first_letters)

  (func $next (param $word i32) (result i32)
    (i32.add (i32.add (local.get $word) (i32.const 1)) (i32.load8_u (local.get $word))))

  (func $is_between (param $byte i32) (param $first i32) (result i32)
    (i32.lt_u (i32.sub (local.get $byte) (local.get $first)) (i32.const 26)))
  (func $upper (param $byte i32) (result i32)
    (i32.sub (local.get $byte) (i32.shl (call $is_between (local.get $byte) (i32.const 97)) (i32.const 5))))
  (func $lower (param $byte i32) (result i32)
    (i32.add (local.get $byte) (i32.shl (call $is_between (local.get $byte) (i32.const 65)) (i32.const 5))))

  ;; Denies when one of the words stands at $at.
  (func $try (param $at i32) (param $end i32)
    (local $word i32)
    (local.set $word (i32.const 262656))
    (block $done
      (loop $each
        (br_if $done (i32.eqz (i32.load8_u (local.get $word))))
        (if (call $stands (local.get $at) (local.get $end) (local.get $word))
          (then (call $deny (local.get $word))))
        (local.set $word (call $next (local.get $word)))
        (br $each))))

  (func $stands (param $at i32) (param $end i32) (param $word i32) (result i32)
    (local $i i32) (local $size i32)
    (local.set $size (i32.load8_u (local.get $word)))
    (if (i32.gt_u (local.get $size) (i32.sub (local.get $end) (local.get $at))) (then (return (i32.const 0))))
    (loop $letter
      (if (i32.ne
            (call $lower (i32.load8_u (i32.add (local.get $at) (local.get $i))))
            (i32.load8_u offset=1 (i32.add (local.get $word) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $letter (i32.lt_u (local.get $i) (local.get $size))))
    (i32.const 1))

  (func $deny (param $word i32)
    (local $size i32)
    (local.set $size (i32.load8_u (local.get $word)))
    (memory.copy (i32.const 262409) (i32.add (local.get $word) (i32.const 1)) (local.get $size))
    (drop (call $reject (i32.const 1) (i32.const 262400) (i32.add (local.get $size) (i32.const 9)))))

  (func (export "policy_check") (param $at i32) (param $len i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (block $done
      (loop $byte
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (if (i32.load8_u offset=262144 (i32.load8_u (local.get $at)))
          (then (call $try (local.get $at) (local.get $end))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $byte)))
    (i32.const 0))

  (data (i32.const 262400) "the word ")
  ;; Each word behind its length; a length of zero ends the list.
  (data (i32.const 262656) "\09forbidden\06secret\00"))
