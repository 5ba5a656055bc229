;; Gives each tenant a budget of bytes: 64 KiB at once, and 1 KiB more with every frame. A tenant that sends large
;; frames only is denied until smaller ones have made up for them. There is one instance for each tenant, so a global is
;; that tenant's own; it begins anew with a new file, with a restart, and when the instance was dropped.
(module
  (import "env" "host_add_header" (func $add_header (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 5 5)
  (global $left (mut i32) (i32.const 65536))

  (func (export "policy_check") (param $at i32) (param $len i32) (result i32)
    (global.set $left (i32.add (global.get $left) (i32.const 1024)))
    (if (i32.gt_u (global.get $left) (i32.const 65536)) (then (global.set $left (i32.const 65536))))
    ;; Denied by its answer: a rejection would end the instance, and the budget with it.
    (if (i32.gt_u (local.get $len) (global.get $left)) (then (return (i32.const 1))))
    (global.set $left (i32.sub (global.get $left) (local.get $len)))
    ;; Half of it is gone: whoever reads the frames behind the gateway can see it.
    (if (i32.lt_u (global.get $left) (i32.const 32768))
      (then
        (drop (call $add_header (i32.const 262144) (i32.const 15) (i32.const 262160) (i32.const 3)))))
    (i32.const 0))

  (data (i32.const 262144) "x-policy-budget")
  (data (i32.const 262160) "low"))
