# A guest for passed-through devices, from the first sectors of a disk. It turns on all MSI-X vectors of every device with
# MSI-X, says "vvvv bbdd" on COM1 for each (vectors; bus and device), and then ten times a second has every igb card
# raise its ten interrupts, and says "tttttttt iiiiiiii mmmm": ticks, interrupts so far, vectors (a bit each) that came in this tick.
    .code16
    .global _start
_start:
    ljmp $0, $1f
1:  cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $0x0200 + (end - second + 511) / 512, %ax       # read the rest, from sector 2 on
    mov $2, %cx
    xor %dh, %dh
    mov $second, %bx
    int $0x13
    lgdt gdtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $protected
    .balign 8
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr: .word gdtr - gdt - 1
    .long gdt
    .org 508
limit: .word 0xffff                 # so many vectors of a device at most; vfio-vm.sh writes it into the disk
    .word 0xaa55
second:
    .code32
    .set IDT, 0x20000
    .set APIC, 0xfee00000
protected:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %esp
    mov $0xff, %al                  # no interrupts of the old controller
    out %al, $0x21
    out %al, $0xa1
    mov $IDT, %edi                  # all vectors lead to "other", those of the timer and of igb to their own
    mov $256, %ecx
    mov $other, %eax
4:  call gate
    loop 4b
    mov $IDT + 0x20 * 8, %edi
    mov $timer, %eax
    call gate
    mov $IDT + 0x30 * 8, %edi
    mov $16, %ecx
    mov $stubs, %eax
5:  push %eax
    call gate
    pop %eax
    add $8, %eax
    loop 5b
    lidt idtr
    movl $0x1ff, APIC + 0xf0
    movl $0xb, APIC + 0x3e0
    movl $0x20020, APIC + 0x320
    xor %ebp, %ebp                  # bus and device: 5 low bits are the device
device:
    mov %ebp, %edi
    shl $11, %edi
    or $0x80000000, %edi
    xor %ecx, %ecx
    call read
    mov %eax, model
    inc %ax
    jz next
    mov $4, %ecx
    call read
    test $0x100000, %eax
    jz next
    or $6, %eax
    call write
    mov $0xc, %ecx
    call read
    test $0x7f0000, %eax            # a bridge
    jnz next
    mov $0x34, %ecx
    call read
    movzbl %al, %ecx
capability:
    and $0xfc, %ecx
    jz next
    call read
    cmp $0x11, %al
    je found
    movzbl %ah, %ecx
    jmp capability
found:
    mov %ecx, place
    mov %eax, %esi
    add $4, %ecx
    call read
    mov %eax, %ebx
    and $7, %eax
    lea 0x10(,%eax,4), %ecx
    call read
    and $~15, %eax
    and $~7, %ebx
    add %eax, %ebx                  # the table
    mov %esi, %ecx
    shr $16, %ecx
    and $0x7ff, %ecx
    inc %ecx
    movzwl limit, %eax
    cmp %eax, %ecx
    jbe 3f
    mov %eax, %ecx
3:  mov %ecx, count
    mov $0x30, %edx
    cmpl $0x10c98086, model
    je vector
    mov $0x50, %edx
vector:
    movl $APIC, (%ebx)
    movl $0, 4(%ebx)
    mov %edx, 8(%ebx)
    movl $0, 12(%ebx)
    add $16, %ebx
    cmpl $0x10c98086, model
    jne 6f
    inc %edx
6:  loop vector
    mov place, %ecx                 # on, when all are ready: together, not one by one
    mov %esi, %eax
    or $0x80000000, %eax
    call write
    cmpl $0x10c98086, model
    jne say
    mov $0x10, %ecx
    call read
    and $~15, %eax
    mov cards, %ebx
    mov %eax, list(,%ebx,4)
    incl cards
    movl $0x40000011, 0x1514(%eax)  # GPIE: MSI-X, clears itself
    movl $0x3ff, 0x152c(%eax)       # EIAC
    movl $0x3ff, 0x1524(%eax)       # EIMS
say:
    mov count, %ebx
    shl $16, %ebx
    mov $4, %ecx
    call hex
    call space
    mov %ebp, %ebx
    shl $19, %ebx
    mov %ebp, %eax
    and $31, %eax
    shl $16, %eax
    and $0xff000000, %ebx
    or %eax, %ebx
    mov $4, %ecx
    call hex
    call line
next:
    inc %ebp
    cmp $512, %ebp
    jb device
    movl $100000000, APIC + 0x380
again:
    movl $0, due
    mov $0, %eax
    xchg %eax, seen
    mov %eax, %edi
    mov cards, %ecx
    jecxz 8f
7:  mov list-4(,%ecx,4), %eax
    movl $0x3ff, 0x1580(%eax)       # EICR: clear, so that the next is an edge
    movl $0x3ff, 0x1520(%eax)       # EICS: raise
    loop 7b
8:  incl ticks
    mov ticks, %ebx
    mov $8, %ecx
    call hex
    call space
    mov irqs, %ebx
    mov $8, %ecx
    call hex
    call space
    mov %edi, %ebx
    shl $16, %ebx
    mov $4, %ecx
    call hex
    call line
9:  sti
    hlt
    cli
    cmpl $0, due
    je 9b
    jmp again

gate:                               # %eax: handler, %edi: place, which moves on
    push %eax
    mov %ax, (%edi)
    movw $8, 2(%edi)
    movw $0x8e00, 4(%edi)
    shr $16, %eax
    mov %ax, 6(%edi)
    pop %eax
    add $8, %edi
    ret
    .balign 8
stubs:
    .set n, 0
    .rept 16
    .balign 8
    push $n
    jmp igb
    .set n, n + 1
    .endr
igb:
    xchg %eax, (%esp)
    bts %eax, seen
    incl irqs
    pop %eax
    movl $0, APIC + 0xb0
    iret
timer:
    movl $1, due
    movl $0, APIC + 0xb0
    iret
other:
    incl others
    movl $0, APIC + 0xb0
    iret
read:                               # %ecx: register; to %eax. Spoils %dx
    lea (%edi,%ecx), %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xcfc, %dx
    in %dx, %eax
    ret
write:                              # %ecx: register, %eax: value
    push %eax
    lea (%edi,%ecx), %eax
    mov $0xcf8, %dx
    out %eax, %dx
    pop %eax
    mov $0xcfc, %dx
    out %eax, %dx
    ret
hex:                                # the %ecx high digits of %ebx
    rol $4, %ebx
    mov %bl, %al
    and $15, %al
    add $'0', %al
    cmp $'9'+1, %al
    jb 3f
    add $39, %al
3:  call put
    loop hex
    ret
space:
    mov $' ', %al
    jmp put
line:
    mov $10, %al
put:
    push %eax
    mov $0x3fd, %dx
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    pop %eax
    mov $0x3f8, %dx
    out %al, %dx
    ret
    .balign 8
idtr: .word 256 * 8 - 1
    .long IDT
ticks: .long 0
irqs: .long 0
others: .long 0
seen: .long 0
due: .long 0
model: .long 0
place: .long 0
count: .long 0
cards: .long 0
list: .fill 8, 4, 0
end:
    .org 4096
