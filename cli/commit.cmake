# Writes OUTPUT (version.cc) with VERSION and the commit of SOURCE; touches it only when it changes.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
file(WRITE ${OUTPUT}.new "#include \"cli/version.h\"\n"
  "namespace vramplan::cli {\n"
  "const char* version() { return \"${VERSION}\"; }\n"
  "const char* commit() { return \"${commit}\"; }\n"
  "std::string version_line() {\n"
  "  return std::string(\"vramplan \") + version() + \" (commit \" + commit() + \")\";\n"
  "}\n}  // namespace vramplan::cli\n")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
