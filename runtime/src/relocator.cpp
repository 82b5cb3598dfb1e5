//===- relocator.cpp - relocations of a mapped model file -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "relocator.h"

#include <cstring>
#include <elf.h>

#ifndef DT_RELRSZ
#define DT_RELRSZ 35
#define DT_RELR 36
#define DT_RELRENT 37
#endif

namespace effrt {

bool Relocator::read(uint64_t address, void *to, uint64_t size) const {
  if (!image_.contains(image_.at(address), size))
    return false;
  std::memcpy(to, image_.at(address), size);
  return true;
}

uint8_t *Relocator::writable(uint64_t address, uint64_t size) const {
  const CodeImage::Segment *segment = image_.segmentOf(address, size);
  if (!segment || !(segment->flags & PF_W))
    return nullptr;
  return image_.memory_.data() + (address - image_.lowest_);
}

std::string Relocator::apply(uint64_t dynamic, uint64_t size) {
  uint64_t rela = 0, relaBytes = 0, relaEntry = sizeof(Elf64_Rela);
  uint64_t plt = 0, pltBytes = 0, pltKind = DT_RELA;
  uint64_t relr = 0, relrBytes = 0;
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= size;
       at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    if (!read(dynamic + at, &entry, sizeof entry))
      return "the dynamic section is not inside a segment";
    uint64_t value = entry.d_un.d_val;
    if (entry.d_tag == DT_NULL)
      break;
    switch (entry.d_tag) {
    case DT_RELA:
      rela = value;
      break;
    case DT_RELASZ:
      relaBytes = value;
      break;
    case DT_RELAENT:
      relaEntry = value;
      break;
    case DT_JMPREL:
      plt = value;
      break;
    case DT_PLTRELSZ:
      pltBytes = value;
      break;
    case DT_PLTREL:
      pltKind = value;
      break;
    case DT_RELR:
      relr = value;
      break;
    case DT_RELRSZ:
      relrBytes = value;
      break;
    case DT_SYMTAB:
      symbols_ = value;
      break;
    case DT_NEEDED:
      return "it needs another library";
    case DT_INIT:
    case DT_FINI:
    case DT_PREINIT_ARRAY:
      return "it has code to run while it is loaded";
    case DT_INIT_ARRAYSZ:
    case DT_FINI_ARRAYSZ:
      if (value)
        return "it has code to run while it is loaded";
      break;
    case DT_REL:
    case DT_TEXTREL:
      return "it has relocations of a kind that is not supported";
    default:
      break;
    }
  }
  if (relaEntry != sizeof(Elf64_Rela) || (pltBytes && pltKind != DT_RELA))
    return "it has relocations of a kind that is not supported";
  if (std::string why = applyRelr(relr, relrBytes); !why.empty())
    return why;
  if (std::string why = applyRela(rela, relaBytes); !why.empty())
    return why;
  return applyRela(plt, pltBytes);
}

std::string Relocator::applyRela(uint64_t table, uint64_t size) {
  uintptr_t base = image_.base();
  for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= size;
       at += sizeof(Elf64_Rela)) {
    Elf64_Rela entry;
    if (!read(table + at, &entry, sizeof entry))
      return "the table of relocations is not inside a segment";
    uint64_t type = ELF64_R_TYPE(entry.r_info), value = base;
    switch (type) {
    case R_X86_64_NONE:
      continue;
    case R_X86_64_RELATIVE:
      value += uint64_t(entry.r_addend);
      break;
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT: {
      uint64_t address = 0;
      std::string why = resolve(ELF64_R_SYM(entry.r_info), address);
      if (!why.empty())
        return why;
      value += address + (type == R_X86_64_64 ? uint64_t(entry.r_addend) : 0);
      break;
    }
    default:
      return "it has a relocation of type " + std::to_string(type) +
             ", which is not supported";
    }
    uint8_t *place = writable(entry.r_offset, sizeof value);
    if (!place)
      return "a relocation does not point at writable memory";
    std::memcpy(place, &value, sizeof value);
  }
  return "";
}

std::string Relocator::resolve(uint64_t symbol, uint64_t &address) {
  Elf64_Sym entry;
  if (!symbols_ ||
      !read(symbols_ + symbol * sizeof entry, &entry, sizeof entry))
    return "the table of symbols is not inside a segment";
  unsigned type = ELF64_ST_TYPE(entry.st_info);
  if (entry.st_shndx == SHN_UNDEF)
    return "it has a symbol that it does not define";
  if (type == STT_TLS || type == STT_GNU_IFUNC || entry.st_shndx == SHN_ABS)
    return "it has a symbol of a kind that is not supported";
  address = entry.st_value;
  return "";
}

/// RELR: an even word is the address of a word to relocate; an odd word is a
/// bit map of the 63 words after the last address.
std::string Relocator::applyRelr(uint64_t table, uint64_t size) {
  uintptr_t base = image_.base();
  auto relocate = [&](uint64_t address) {
    uint8_t *place = writable(address, sizeof(uint64_t));
    if (!place)
      return false;
    uint64_t value;
    std::memcpy(&value, place, sizeof value);
    value += base;
    std::memcpy(place, &value, sizeof value);
    return true;
  };
  uint64_t next = 0;
  for (uint64_t at = 0; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
    uint64_t word;
    if (!read(table + at, &word, sizeof word))
      return "the table of relocations is not inside a segment";
    bool good = true;
    if (!(word & 1)) {
      good = relocate(word);
      next = word + sizeof(uint64_t);
    } else {
      for (int bit = 1; bit < 64 && good; ++bit)
        if (word >> bit & 1)
          good = relocate(next + uint64_t(bit - 1) * sizeof(uint64_t));
      next += 63 * sizeof(uint64_t);
    }
    if (!good)
      return "a relocation does not point at writable memory";
  }
  return "";
}

} // namespace effrt
