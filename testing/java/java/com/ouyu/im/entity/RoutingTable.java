package com.ouyu.im.entity;

import check.Tag;
import java.io.Serializable;
import java.util.List;

public class RoutingTable implements Serializable {
    private static final long serialVersionUID = -5746334030627905959L;

    @Tag(1) private String serverAddress;
    @Tag(2) private String preServerAddress;
    @Tag(3) private List<String> routedServerAddresses;

    public String getServerAddress() {
        return serverAddress;
    }

    public void setServerAddress(String serverAddress) {
        this.serverAddress = serverAddress;
    }

    public String getPreServerAddress() {
        return preServerAddress;
    }

    public void setPreServerAddress(String preServerAddress) {
        this.preServerAddress = preServerAddress;
    }

    public List<String> getRoutedServerAddresses() {
        return routedServerAddresses;
    }

    public void setRoutedServerAddresses(List<String> routedServerAddresses) {
        this.routedServerAddresses = routedServerAddresses;
    }
}
