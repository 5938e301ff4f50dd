# Writes OUTPUT: style and script of the HTML report and the SHA-256 of each, from FOLDER.
set(text "")
foreach(asset Css Js)
  string(TOLOWER ${asset} ending)
  file(READ ${FOLDER}/report.${ending} content)
  string(SHA256 hash "${content}")
  string(APPEND text "const char* const kReport${asset} = R\"~asset~(${content})~asset~\";\n"
    "const char* const kReport${asset}Sha256 = \"${hash}\";\n")
endforeach()
file(WRITE ${OUTPUT}.new "// Generated from reports/assets.\n#include \"reports/assets.h\"\n"
  "namespace vramplan {\n${text}}  // namespace vramplan\n")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
file(TOUCH_NOCREATE ${OUTPUT})
