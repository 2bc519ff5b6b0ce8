// A CPU's switches as its sets of features have them: an older QEMU is not asked for each.

import { z } from "zod";

/**
 * The switches (`avx2`, `lm` ...) that the property "feature-words" of an x86 CPU tells, by name; nothing of an answer of
 * another form. QEMU reads both from the same words (QEMU 10.0 target/i386/cpu.c, x86_cpu_get_bit_prop and
 * x86_cpu_get_feature_words).
 */
export function switchesOf(featureWords: unknown): Readonly<Record<string, boolean>> {
  const { success, data } = wordsSchema.safeParse(featureWords);
  if (!success) return {};
  return Object.fromEntries(
    data.flatMap((word) => {
      const ecx = word["cpuid-input-ecx"] === undefined ? "" : `.${word["cpuid-input-ecx"].toString(16)}`;
      const names = switches[`${word["cpuid-input-eax"].toString(16)}${ecx}.${word["cpuid-register"]}`] ?? "";
      return names
        .split(" ")
        .flatMap((bit, at) => bit.split("|").map((name) => [name, ((word.features >>> at) & 1) === 1] as const))
        .filter(([name]) => name !== "-");
    }),
  );
}

const word = z.int().min(0).max(0xffff_ffff);
const wordsSchema = z.array(
  z.object({
    "cpuid-input-eax": word,
    "cpuid-input-ecx": word.optional(),
    "cpuid-register": z.string(),
    features: word,
  }),
);

/**
 * What each bit of a word is called, the lowest first: "-" for none, all names of one with "|" between. By EAX, ECX and the
 * register that CPUID gives. Found by switching each on and off in QEMU 10.0 and looking which bit changes; that it is so in
 * 7.2, 10.0 and 11.1 shows test/qemu/cpu-switches.test.ts. What is kept in no such word (of VMX, of KVM, settings) is asked.
 */
const switches: Readonly<Record<string, string>> = {
  "1.ECX":
    "pni|sse3 pclmuldq|pclmulqdq dtes64 monitor ds-cpl|ds_cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid dca sse4-1|sse4.1|sse4_1 sse4-2|sse4.2|sse4_2 x2apic movbe popcnt tsc-deadline aes xsave - avx f16c rdrand hypervisor",
  "1.EDX":
    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
  "6.EAX": "- - arat",
  "7.0.EBX":
    "fsgsbase tsc-adjust|tsc_adjust sgx bmi1 hle avx2 fdp-excptn-only smep bmi2 erms invpcid rtm - zero-fcs-fds mpx - avx512f avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni avx512bw avx512vl",
  "7.0.ECX":
    "- avx512vbmi umip pku - waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni avx512bitalg - avx512-vpopcntdq - la57 - - - - - rdpid - bus-lock-detect cldemote - movdiri movdir64b - - pks",
  "7.0.EDX":
    "- - avx512-4vnniw avx512-4fmaps fsrm - - - avx512-vp2intersect - md-clear - - - serialize - tsx-ldtrk - - arch-lbr - - amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp flush-l1d arch-capabilities core-capability ssbd",
  "7.1.EAX":
    "sha512 sm3 sm4 - avx-vnni avx512-bf16 - cmpccxadd - - fzrm fsrs fsrc - - - - - lkgs wrmsrns - amx-fp16 - avx-ifma - - lam",
  "7.1.EDX": "- - - - avx-vnni-int8 avx-ne-convert - - amx-complex - avx-vnni-int16 - - - prefetchiti",
  "7.2.EDX": "intel-psfd ipred-ctrl rrsba-ctrl ddpd-u bhi-ctrl mcdt-no",
  "d.1.EAX": "xsaveopt xsavec xgetbv1 xsaves xfd",
  "40000001.EDX": "kvm-hint-dedicated",
  "80000001.ECX":
    "lahf-lm|lahf_lm cmp-legacy|cmp_legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid-msr|nodeid_msr - tbm topoext perfctr-core|perfctr_core perfctr-nb|perfctr_nb",
  "80000001.EDX":
    "- - - - - - - - - - - syscall - - - - - - - - nx|xd - mmxext - - ffxsr|fxsr-opt|fxsr_opt pdpe1gb rdtscp - i64|lm 3dnowext 3dnow",
  "80000007.EBX": "overflow-recov succor",
  "80000007.EDX": "- - - - - - - - invtsc",
  "80000008.EBX":
    "clzero - xsaveerptr - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp - stibp-always-on - - - - - - amd-ssbd virt-ssbd amd-no-ssb - amd-psfd",
  "8000000a.EDX":
    "npt lbrv svm-lock|svm_lock nrip-save|nrip_save tsc-scale|tsc_scale vmcb-clean|vmcb_clean flushbyasid decodeassists - - pause-filter|pause_filter - pfthreshold avic - v-vmsave-vmload vgif - - - - - - - - vnmi - - svme-addr-chk",
  "80000021.EAX":
    "no-nested-data-bp - lfence-always-serializing - - - null-sel-clr-base - auto-ibrs - - - - - - - - - - - - - - - eraps - - sbpb ibpb-brtype srso-no srso-user-kernel-no",
  "80000022.EAX": "perfmon-v2",
  "c0000001.EDX": "- - xstore xstore-en - - xcrypt xcrypt-en ace2 ace2-en phe phe-en pmm pmm-en",
};
